//! What the cloud's answers say of jobs: facts, no such job, or nothing that can be believed.
//!
//! It stands on the recogniser and beside `body`, whose judgement it shares: the facts of a job are those that its create
//! had. Unknown members are passed over; whatever is known has its type, or the whole answer is worth nothing. An answer
//! that cannot be believed is never taken for one that is empty.

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

/// What came of a call that views jobs.
#[derive(Debug)]
pub enum Answered {
    /// These are there, perhaps none.
    Jobs(Viewed),
    /// The cloud says that there is no such job.
    NoSuchJob,
    /// Nobody can say.
    Unknown(AnswerError),
}

/// What came of looking for one job.
#[derive(Debug, PartialEq)]
pub enum Lookup {
    /// It is there.
    Facts(Facts),
    /// It is surely not there.
    Absent,
    /// Nobody can say.
    Unknown(AnswerError),
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Its status is of no answer that is known.
    Status(u16),
    /// It is not what its version's answers are.
    Malformed,
    /// A job is in it that was not asked for.
    Foreign,
    /// A job is in it twice.
    Doubled,
}

/// The jobs of an answer.
#[derive(Debug)]
pub struct Viewed {
    pub(super) version: Version,
    /// Of a list: how many there are in all.
    pub(super) listed: Option<u64>,
    /// Whether what is not there is counted all the same.
    incomplete: bool,
    pub(super) body: Bytes,
    pub(super) jobs: Vec<ViewedJob>,
}

/// A job in an answer.
#[derive(Debug)]
pub struct ViewedJob {
    pub(super) id: Segment,
    pub(super) facts: Facts,
    /// Where it stands in the answer.
    pub(super) raw: Range<usize>,
    /// Where its `user_data` stands, and what that is. In order.
    pub(super) own_words: Vec<(Range<usize>, String)>,
}

impl Answered {
    /// Reads the answer to a view.
    pub fn read(view: &Target, status: u16, body: &Bytes) -> Self {
        match status {
            200 => Viewed::read(view, body).map_or_else(Self::Unknown, Self::Jobs),
            400..=499 if error_code(body).is_some_and(|code| code == NO_SUCH_JOB) => Self::NoSuchJob,
            _ => Self::Unknown(AnswerError::Status(status)),
        }
    }

    /// What it says of one of the jobs that were asked for.
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

/// The id of the job that was made. `None`: the answer does not say.
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
        // Jobs that are counted and not there are not absent; a list without a number is none.
        let incomplete = total.is_some_and(|total| total > jobs.len() as u64);
        let malformed = if is_list { total.is_none() } else { incomplete && jobs.is_empty() };
        if malformed {
            return Err(AnswerError::Malformed);
        }
        let listed = total.filter(|_| is_list);
        Ok(Self { version, listed, incomplete, body: body.clone(), jobs })
    }

    /// Whether jobs are counted that are not there: what is not there need not be absent then.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// The jobs, in their order.
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

    /// Its id.
    pub fn id(&self) -> &Segment {
        &self.id
    }

    /// What is known of it by this answer.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// The facts with those of what was asked for when the job was made, as far as the answer has it.
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

/// `edit_type`, where it is there.
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

/// A member that is there and is not null, which is how some say that there is none.
fn there<'n, 't>(node: &'n Node<'t>, name: &str) -> Option<&'n Node<'t>> {
    node.member(name).filter(|member| member.value != Value::Null)
}

/// Whether every job was asked for, and is there once.
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

/// `total`, where it is there.
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
    /// The cause.
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
