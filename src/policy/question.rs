//! Says whether the policy would allow a call, and why, for `policy explain` and the status page.
//!
//! Unknown names are errors here. The policy itself would only deny them, which does not help.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::{Call, DecisionReport, FactError, Facts, Key, Policy, Scope};
use crate::{
    identity::CallerId,
    operation::{ACTIONS, CREATE, Segment},
};

/// A hypothetical call.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The caller's name in the policy.
    pub caller: &'q str,
    /// The IAM action.
    pub action: &'q str,
    /// The project's name or id.
    pub project: &'q str,
    /// The job id. `None` for a create.
    pub job: Option<&'q str>,
    /// The facts of the job.
    pub facts: &'q Facts,
    /// The time.
    pub at: DateTime<Utc>,
    /// The source address.
    pub source_ip: Option<IpAddr>,
    /// The listener.
    pub listener: Option<&'q str>,
    /// The kind of credential that identified the caller.
    pub identified_by: Option<&'q str>,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// The name is unknown.
    #[error("unknown {kind} `{name}`{}", .closest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// The kind of name.
        kind: &'static str,
        /// The name.
        name: String,
        /// A similar name that is known.
        closest: Option<String>,
    },
    /// No job can have this id.
    #[error("a job id is 1 to 64 characters of A-Z a-z 0-9 _ -")]
    JobId,
    /// The action needs a job id.
    #[error("a job is required, except for {CREATE}")]
    WhichJob,
    /// The action creates a job, so it takes no id.
    #[error("a create has no job id: remove the job")]
    NoJobYet,
    /// No job can have these facts.
    #[error(transparent)]
    Facts(#[from] FactError),
}

impl Question<'_> {
    /// Evaluates the policy.
    ///
    /// # Errors
    /// [`QuestionError`] if a caller, project or action is unknown, or the job does not fit the action.
    pub fn ask(
        &self,
        policy: &Policy,
        callers: &[CallerId],
        projects: &[Scope],
    ) -> Result<DecisionReport, QuestionError> {
        let caller = callers.iter().find(|caller| caller.as_str() == self.caller);
        let caller =
            caller.ok_or_else(|| unknown("caller", self.caller, callers.iter().map(CallerId::as_str)))?;
        let project = projects.iter().find(|project| [&*project.name, &*project.id].contains(&self.project));
        let names = projects.iter().map(|project| &*project.name);
        let project = project.ok_or_else(|| unknown("project", self.project, names))?;
        if !ACTIONS.contains(&self.action) {
            return Err(unknown("action", self.action, ACTIONS.into_iter()));
        }
        self.check_job()?;
        let call = Call {
            caller,
            action: self.action,
            project: &project.name,
            job: self.job,
            facts: self.facts,
            at: self.at,
            source_ip: self.source_ip,
            listener: self.listener,
            identified_by: self.identified_by,
        };
        Ok(DecisionReport::new(policy.explain(&call)))
    }

    fn check_job(&self) -> Result<(), QuestionError> {
        match (self.job, self.action == CREATE) {
            (Some(job), false) => Segment::parse(job).map(|_| ()).ok_or(QuestionError::JobId),
            (None, true) => Ok(()),
            (None, false) => Err(QuestionError::WhichJob),
            (Some(_), true) => Err(QuestionError::NoJobYet),
        }
    }
}

/// Parses `KEY=VALUE`, or a key alone for an absent fact.
///
/// # Errors
/// [`QuestionError::Unknown`] if the key is not a fact.
pub fn parse_fact(text: &str) -> Result<(Key, Option<String>), QuestionError> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.into())));
    let keys = Key::ALL.into_iter().filter(|key| key.is_fact());
    match keys.clone().find(|key| key.as_str() == name) {
        Some(key) => Ok((key, value)),
        None => Err(unknown("fact", name, keys.map(Key::as_str))),
    }
}

/// Creates the facts of a call's job from pairs, one for each value. Facts that are not given are unknown.
///
/// # Errors
/// [`QuestionError::Facts`] if no job can have them.
pub fn facts_of(action: &str, told: &[(Key, Option<String>)]) -> Result<Facts, QuestionError> {
    let mut by_key: Vec<(Key, Vec<String>)> = Vec::new();
    for (key, value) in told {
        match by_key.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.extend(value.clone()),
            None => by_key.push((*key, value.iter().cloned().collect())),
        }
    }
    let given = if action == CREATE { Facts::given_to_create } else { Facts::given };
    Ok(given(&by_key)?)
}

fn unknown<'n>(kind: &'static str, name: &str, known: impl Iterator<Item = &'n str>) -> QuestionError {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    let closest = known.min_by_key(distance).filter(|closest| distance(closest) <= 1 + name.len() / 4);
    QuestionError::Unknown { kind, name: name.to_owned(), closest: closest.map(str::to_owned) }
}
