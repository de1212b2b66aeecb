//! Parses the cloud's answers about jobs: facts, no such job, or unknown.
//!
//! It judges jobs like `body`, so the facts of a job are those of its create. Unknown members are ignored; a known member of
//! the wrong type makes the whole answer unknown. An answer that cannot be understood is never taken for an empty one.

use std::ops::Range;

use bytes::Bytes;

use super::{
    inspect::{InspectedJob, Strictness},
    json::{self, Node, Value},
    places::Places,
};
use crate::{
    operation::{Jobs, Segment, Target, Version},
    policy::{Fact, Facts, JobStatus, UnknownReason},
    reason::Reason,
};

/// The meaning of an answer to a view.
#[derive(Debug)]
pub enum Answered {
    /// These jobs exist, possibly none.
    Jobs(Viewed),
    /// The cloud says that the job does not exist.
    NoSuchJob,
    /// Unknown.
    Unknown(AnswerError),
}

/// The result of looking up one job.
#[derive(Debug, PartialEq)]
pub enum Lookup {
    /// It exists.
    Facts(Facts),
    /// It certainly does not exist.
    Absent,
    /// Unknown.
    Unknown(AnswerError),
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Its status is unexpected.
    Status(u16),
    /// It does not match its API version.
    Malformed,
    /// It has a job that was not requested.
    Foreign,
    /// It has a job twice.
    Doubled,
}

/// The jobs of an answer.
#[derive(Debug)]
pub struct Viewed {
    pub(super) version: Version,
    /// The total of a list.
    pub(super) listed: Option<u64>,
    /// Whether the total counts jobs that the answer does not have.
    incomplete: bool,
    pub(super) body: Bytes,
    pub(super) jobs: Vec<ViewedJob>,
}

/// A job in an answer.
#[derive(Debug)]
pub struct ViewedJob {
    pub(super) id: Segment,
    pub(super) facts: Facts,
    /// Its range in the answer.
    pub(super) raw: Range<usize>,
    /// The ranges and values of its `user_data`, in order.
    pub(super) own_words: Vec<(Range<usize>, String)>,
}

impl Answered {
    /// Parses the answer to a view.
    pub fn read(view: &Target, status: u16, body: &Bytes) -> Self {
        match status {
            200 => Viewed::read(view, body).map_or_else(Self::Unknown, Self::Jobs),
            400..=499 if error_code(body).is_some_and(|code| code == NO_SUCH_JOB) => Self::NoSuchJob,
            _ => Self::Unknown(AnswerError::Status(status)),
        }
    }

    /// Returns what it says about one of the requested jobs.
    pub fn into_lookup(self, job: &Segment) -> Lookup {
        match self {
            Self::Jobs(Viewed { jobs, incomplete, .. }) => {
                match jobs.into_iter().find(|shown| shown.id == *job) {
                    Some(shown) => Lookup::Facts(shown.facts),
                    None if incomplete => Lookup::Unknown(AnswerError::Malformed),
                    None => Lookup::Absent,
                }
            }
            Self::NoSuchJob => Lookup::Absent,
            Self::Unknown(doubt) => Lookup::Unknown(doubt),
        }
    }
}

/// Returns the id of the created job, if the answer has it.
pub fn created(status: u16, body: &[u8]) -> Option<Segment> {
    let answer = json::read(body, &json::ANSWER).ok().filter(|_| (200..300).contains(&status))?;
    Segment::parse(answer.member("job_id")?.text()?)
}

impl Viewed {
    fn read(view: &Target, body: &Bytes) -> Result<Self, AnswerError> {
        let version = view.operation().version;
        let answer = json::read(body, &json::ANSWER).map_err(|_| AnswerError::Malformed)?;
        let entries = match version {
            Version::V1 => answer.member("jobs"),
            Version::V2 => answer.member("job_array"),
        };
        let Some(Value::List(entries)) = entries.map(|entries| &entries.value) else {
            return Err(AnswerError::Malformed);
        };
        let jobs =
            entries.iter().map(|entry| ViewedJob::read(entry, version)).collect::<Result<Vec<_>, _>>()?;
        are_those(&jobs, view.jobs())?;
        let total = total(&answer)?;
        let is_list = matches!(view.jobs(), Jobs::List(_));
        // Jobs that are counted but missing are not absent. A list must have a total.
        let incomplete = total.is_some_and(|total| total > jobs.len() as u64);
        let malformed = if is_list { total.is_none() } else { incomplete && jobs.is_empty() };
        if malformed {
            return Err(AnswerError::Malformed);
        }
        let listed = total.filter(|_| is_list);
        Ok(Self { version, listed, incomplete, body: body.clone(), jobs })
    }

    /// Whether the total counts jobs that the answer does not have, so that a missing job need not be absent.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Returns the jobs in order.
    pub fn jobs(&self) -> &[ViewedJob] {
        &self.jobs
    }
}

impl ViewedJob {
    fn read(entry: &Node<'_>, version: Version) -> Result<Self, AnswerError> {
        let id = entry
            .member("job_id")
            .and_then(Node::text)
            .and_then(Segment::parse)
            .ok_or(AnswerError::Malformed)?;
        let request = match version {
            Version::V1 => there(entry, "edit_task_req"),
            Version::V2 => None,
        };
        let words: Vec<&Node<'_>> = [Some(entry), request]
            .into_iter()
            .flatten()
            .filter_map(|node| there(node, "user_data"))
            .collect();
        let mut own_words = Vec::with_capacity(words.len());
        for node in words {
            own_words.push((node.at..node.end, node.text().ok_or(AnswerError::Malformed)?.to_owned()));
        }
        let mut said = own_words.iter().map(|(_, text)| text.as_str());
        let user_data = said.next();
        if said.any(|other| Some(other) != user_data) {
            return Err(AnswerError::Malformed);
        }
        let facts =
            Facts::unknown(UnknownReason::NotInAnswer).with_user_data(user_data).with_status(status(entry)?);
        let facts = with_request(facts, entry, version, request)?;
        own_words.sort_unstable_by_key(|(place, _)| place.start);
        Ok(Self { id, facts, raw: entry.at..entry.end, own_words })
    }

    /// Returns its id.
    pub fn id(&self) -> &Segment {
        &self.id
    }

    /// Returns the facts in this answer.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Adds the facts of the create request, if the answer has it.
fn with_request(
    facts: Facts,
    entry: &Node<'_>,
    version: Version,
    request: Option<&Node<'_>>,
) -> Result<Facts, AnswerError> {
    if version == Version::V2 {
        return Ok(facts);
    }
    let own = kinds(entry)?;
    let asked = request.map(kinds).transpose()?;
    if own.is_some() && asked.as_ref().is_some_and(|asked| asked.is_some() && *asked != own) {
        return Err(AnswerError::Malformed);
    }
    let facts = match (own, asked) {
        (Some(kinds), _) => facts.with_edit_type(kinds),
        (None, Some(asked)) => facts.with_edit_type(asked.unwrap_or_default()),
        (None, None) => facts,
    };
    let Some(request) = request else { return Ok(facts) };
    let judged = InspectedJob::of(request, Places::of_either(), Strictness::Cloud)
        .map_err(|_| AnswerError::Malformed)?;
    Ok(facts.with_objects(judged.inputs, judged.outputs))
}

/// Parses `edit_type`, if present.
fn kinds(node: &Node<'_>) -> Result<Option<Vec<String>>, AnswerError> {
    let Some(kinds) = there(node, "edit_type") else { return Ok(None) };
    let Value::List(kinds) = &kinds.value else { return Err(AnswerError::Malformed) };
    let text = |kind: &Node<'_>| kind.text().map(str::to_owned).ok_or(AnswerError::Malformed);
    kinds.iter().map(text).collect::<Result<Vec<_>, _>>().map(Some)
}

fn status(entry: &Node<'_>) -> Result<Fact<JobStatus>, AnswerError> {
    match there(entry, "status") {
        None => Ok(Fact::Unknown(UnknownReason::NotInAnswer)),
        Some(word) => word.text().map(JobStatus::of_answer).ok_or(AnswerError::Malformed),
    }
}

/// Returns a member unless it is missing or null.
fn there<'n, 't>(node: &'n Node<'t>, name: &str) -> Option<&'n Node<'t>> {
    node.member(name).filter(|member| member.value != Value::Null)
}

/// Checks that every job was requested, and occurs once.
fn are_those(jobs: &[ViewedJob], asked: &Jobs) -> Result<(), AnswerError> {
    let mut ids: Vec<&Segment> = jobs.iter().map(|job| &job.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(AnswerError::Doubled);
    }
    let foreign = |id: &&Segment| !asked.ids().contains(id);
    let any_is_foreign = !matches!(asked, Jobs::List(_)) && ids.iter().any(foreign);
    if any_is_foreign { Err(AnswerError::Foreign) } else { Ok(()) }
}

/// Parses `total`, if present.
fn total(answer: &Node<'_>) -> Result<Option<u64>, AnswerError> {
    match there(answer, "total").map(|total| &total.value) {
        None => Ok(None),
        Some(Value::Number(token)) => token.parse().map(Some).map_err(|_| AnswerError::Malformed),
        Some(_) => Err(AnswerError::Malformed),
    }
}

fn error_code(body: &[u8]) -> Option<String> {
    let answer = json::read(body, &json::ANSWER).ok()?;
    answer.member("error_code")?.text().map(str::to_owned)
}

impl AnswerError {
    /// Returns the reason for the record.
    pub fn reason(self) -> Reason {
        match self {
            Self::Status(_) => Reason::LookupStatus,
            Self::Malformed => Reason::LookupMalformed,
            Self::Foreign => Reason::LookupForeignJob,
            Self::Doubled => Reason::LookupDoubledJob,
        }
    }
}

const NO_SUCH_JOB: &str = "MPC.10211";
