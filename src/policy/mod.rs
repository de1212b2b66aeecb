//! Policy decisions. Deny by default; an explicit deny wins; no omitted field means any.
//!
//! It stands after identity, which proves the caller, and before everything that acts. It is pure: a policy is
//! compiled once from rules and names, and a decision is a few look-ups, without allocation or lock. When the
//! call came in, and from where, is on the call: policy reads no clock. So are the facts of its job, as far as they
//! are known: where a decision depends on others it says so, and allows nothing.

mod condition;
mod decision;
mod explain;
mod facts;
mod findings;
#[cfg(test)]
mod fixture;
mod glob;
mod index;
mod jobs;
mod moment;
mod names;
mod network;
mod question;
mod report;
mod rules_by_caller;
#[cfg(test)]
mod reference;
mod wildcard;

pub use condition::{Condition, Key, Keys, Operator, Test, TestError, ValueError, VariableError};
pub use decision::{Decision, NeededFacts, Observed, Outcome, Undetermined};
pub use explain::{Closest, Explanation, Field, NearestMiss};
pub use facts::{Fact, FactError, Facts, JobStatus, Object, UnknownReason};
pub use findings::{Finding, Problem};
pub use glob::{Glob, GlobError};
pub use moment::{MomentError, parse_moment, spell_moment};
pub use network::NetworkError;
pub use question::{Question, QuestionError, facts_of, parse_fact};
pub use report::{DecisionReport, ObservedReport, UNDETERMINED};
pub use rules_by_caller::RulesByCaller;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use foldhash::HashMap;

use crate::identity::CallerId;
use condition::Truth;
use index::Index;
use rules_by_caller::ByCaller;

/// One rule: what it says about the calls that match all four of its lists while its condition holds. An empty
/// list matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in decisions, audit records and metrics.
    pub id: String,
    /// What it says.
    pub effect: Effect,
    /// Patterns over the names of callers.
    pub callers: Vec<Glob>,
    /// Patterns over IAM actions, such as `mpc:editingTask:*`.
    pub actions: Vec<Glob>,
    /// Patterns over the names and the ids of projects.
    pub projects: Vec<Glob>,
    /// Patterns over job ids.
    pub jobs: Vec<Glob>,
    /// What must be true besides.
    pub condition: Condition,
    /// The moment from which on it matches nothing.
    pub expires: Option<DateTime<Utc>>,
    /// Whether what it says is applied.
    pub mode: Mode,
    /// Where it is written.
    pub location: Location,
    /// Why it is there, in the words of who wrote it.
    pub reason: Option<String>,
}

/// What a rule says, and what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call may be made.
    Allow,
    /// The call is refused.
    Deny,
}

/// What it is called where no rule decides. No rule has this id.
pub const NO_RULE: &str = "_default";

/// Whether what is said is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is only logged and counted: what would have been.
    Observe,
}

/// A line of a file. Displays as `policy.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// A configured project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its id at Huawei Cloud.
    pub id: Arc<str>,
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its configured name.
    pub project: &'a str,
    /// The job's id. `None`: the call creates one.
    pub job: Option<&'a str>,
    /// What is known of the job.
    pub facts: &'a Facts,
    /// When it came in.
    pub at: DateTime<Utc>,
    /// The address it came from. `None` on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// The listener it came in on, where that is known.
    pub listener: Option<&'a str>,
    /// The kind of proof that identified the caller, where that is known.
    pub identified_by: Option<&'a str>,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    index: Index,
    by_caller: OnceLock<ByCaller>,
    /// The ids of the projects, by their names.
    project_ids: HashMap<Arc<str>, Arc<str>>,
    hash: Arc<str>,
    mode: Mode,
    /// Whether any rule is under observation: most policies have none, and need no second search.
    observes: bool,
}

impl Policy {
    /// Compiles rules, in the order of the file, for the callers and projects there are. `hash` names the version.
    pub fn new(rules: Vec<Rule>, callers: &[CallerId], projects: &[Scope], hash: &str) -> Self {
        let index = Index::new(&rules, callers, projects);
        let ids = projects.iter().map(|project| (Arc::clone(&project.name), Arc::clone(&project.id)));
        let observes = rules.iter().any(|rule| rule.mode == Mode::Observe);
        let (by_caller, project_ids) = (OnceLock::new(), ids.collect());
        Self { rules, index, by_caller, project_ids, hash: hash.into(), mode: Mode::Enforce, observes }
    }

    /// The same policy, in force or only observed as a whole.
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Whether any rule in force may allow this caller the action on the project, whatever the job is.
    pub fn allows_some(&self, caller: &CallerId, action: &str, project: &str) -> bool {
        let cells = self.index.of(caller, action, project);
        cells.is_some_and(|cells| self.index.jobs(cells, Mode::Enforce, Effect::Allow).next().is_some())
            || self.mode == Mode::Observe
    }

    /// Whether a rule of which the lists match applies, as far as is known.
    fn applies(&self, rule: &Rule, call: &Call<'_>) -> Truth {
        if rule.is_over(call.at) { Truth::No } else { rule.condition.holds(call, self.project_id(call)) }
    }

    fn project_id(&self, call: &Call<'_>) -> &str {
        self.project_ids.get(call.project).map_or("", |id| id)
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which version of the policy this is.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Whether it is in force, or only observed.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl Rule {
    /// Whether it has expired by then.
    pub fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|end| at >= end)
    }

    /// Whether one of its patterns matches the job. A call without a job is matched by `*` alone.
    fn matches_job(&self, job: Option<&str>) -> bool {
        self.jobs.iter().any(|glob| job.map_or(glob.is_any(), |job| glob.is_match(job)))
    }

    /// Whether it matches whenever its lists do.
    fn always_applies(&self) -> bool {
        self.expires.is_none() && self.condition.tests().is_empty()
    }
}

impl Effect {
    /// As in policies and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// What it is called where it is only observed, in audit records and metrics.
    pub fn observed(self) -> &'static str {
        match self {
            Self::Allow => "would_allow",
            Self::Deny => "would_deny",
        }
    }
}

impl Mode {
    /// As in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests;
