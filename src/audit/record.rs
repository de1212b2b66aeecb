//! The record of one request, in the names users search for.

use std::{fmt::Write, mem::replace, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Trail,
    line::{Line, name},
};
use crate::reason::{Code, Reason};

/// What of the facts of a job that decided stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedFacts {
    /// Their names and values.
    Values,
    /// Their names alone: what a job is about may be confidential.
    Names,
}

/// The record of one request, in the names users search for.
#[derive(Debug)]
pub struct Record {
    /// `request`, or `intent` for what is about to be done.
    event: &'static str,
    announced: bool,
    timestamp: DateTime<Utc>,
    request_id: Arc<str>,
    /// Who called, once that is proven.
    pub caller: Option<Arc<str>>,
    /// By which kind of proof.
    pub identified_by: Option<&'static str>,
    /// What was shown that proved nobody, in a few words of it.
    pub presented: Option<String>,
    /// The caller's IP address, or `uid:N` on a Unix socket.
    pub peer: String,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The method, `_OTHER` where it is none of HTTP's own.
    pub method: Option<&'static str>,
    /// The template of the operation's URL.
    pub route: Option<&'static str>,
    /// The path that was asked for, where no operation or project was found.
    pub path: Option<String>,
    /// `Host`, where it is not one of the listener's.
    pub host: Option<String>,
    /// The status the caller was answered with; absent where it was not.
    pub status: Option<u16>,
    /// The IAM action.
    pub action: Option<&'static str>,
    /// The project's id.
    pub project_id: Option<Arc<str>>,
    /// The job's id.
    pub job_id: Option<String>,
    /// `allow` or `deny`: what was applied.
    pub effect: Option<&'static str>,
    /// The rule that decided, or would have.
    pub rule: Option<String>,
    /// Its place, `policy.yaml:LINE`.
    pub location: Option<String>,
    /// Why that rule is there, in the words of who wrote it.
    pub policy_reason: Option<String>,
    /// Which policy decided.
    pub policy_hash: Option<Arc<str>>,
    /// `enforce`, or what was only observed: `would_allow`, `would_deny`.
    pub policy_mode: Option<&'static str>,
    /// The credential the call was signed with.
    pub credential: Option<Arc<str>>,
    /// The first four characters of its access key.
    pub key_hint: Option<String>,
    /// What became of the call itself.
    pub call: Trail,
    /// What became of looking its job up.
    pub lookup: Trail,
    /// The ids of the jobs of a view that is not of one: those that were asked for, or, of a list, that were shown.
    pub job_ids: Vec<String>,
    /// How many jobs of the answer to a view were left out.
    pub view_hidden: Option<usize>,
    /// The facts of the job that decided, by their keys, as they are to be told.
    pub facts: Option<Box<Value>>,
    /// Of a new job: the caller's own word about it.
    pub user_data: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it did not end well.
    pub error: Option<Failure>,
    duration: Option<Duration>,
    /// The trace id of the caller's `traceparent`.
    pub trace_id: Option<String>,
}

/// Why a request did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of answer it got, as in `PROXY.Forbidden`.
    pub code: Code,
    /// The cause.
    pub reason: Reason,
    /// What the caller was told.
    pub message: String,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Upstream answered, and its answer was passed on.
    Forwarded,
    /// It was refused here; nothing was sent.
    Refused,
    /// It was sent, and nobody knows whether it was carried out.
    Unknown,
    /// It was given up before anything was sent, because the caller or the process went away.
    Abandoned,
    /// It could not be sent, or went wrong here.
    Failed,
}

impl Outcome {
    /// The word used in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
        }
    }
}

impl Record {
    /// Opens the record of a request that `peer` sent to `listener`.
    pub fn new(request_id: Arc<str>, listener: Arc<str>, peer: String, now: DateTime<Utc>) -> Self {
        Self {
            event: REQUEST,
            announced: false,
            // To the millisecond, as it is written: who decides again by the record decides at the same moment.
            timestamp: now.trunc_subsecs(3),
            request_id,
            caller: None,
            identified_by: None,
            presented: None,
            peer,
            listener,
            method: None,
            route: None,
            path: None,
            host: None,
            status: None,
            action: None,
            project_id: None,
            job_id: None,
            effect: None,
            rule: None,
            location: None,
            policy_reason: None,
            policy_hash: None,
            policy_mode: None,
            credential: None,
            key_hint: None,
            call: Trail::default(),
            lookup: Trail::default(),
            job_ids: Vec::new(),
            view_hidden: None,
            facts: None,
            user_data: None,
            outcome: None,
            error: None,
            duration: None,
            trace_id: None,
        }
    }

    /// When the request came in: `timestamp`.
    pub fn opened_at(&self) -> DateTime<Utc> {
        self.timestamp
    }

    /// The request's id: `request.id`, and `Proxy-Request-Id` of its answer.
    pub fn id(&self) -> &Arc<str> {
        &self.request_id
    }

    /// The finished line, with its line end, for a request that took `duration`.
    ///
    /// Where no stage said how it ended, nobody answered it: the request was abandoned, or, when something of it may
    /// have been sent, its outcome is unknown.
    pub fn line(&mut self, duration: Duration) -> Vec<u8> {
        self.duration = Some(duration);
        let open = if self.call.maybe_sent { Outcome::Unknown } else { Outcome::Abandoned };
        self.outcome.get_or_insert(open);
        self.written()
    }

    /// The line that says what is about to be done, as far as it is known. `None` where it was asked for before.
    pub(super) fn intent(&mut self) -> Option<Vec<u8>> {
        if replace(&mut self.announced, true) {
            return None;
        }
        self.event = INTENT;
        let line = self.written();
        self.event = REQUEST;
        Some(line)
    }

    /// The fields, in the order in which they are read: who, what, why, and how it ended.
    fn written(&self) -> Vec<u8> {
        let mut line = Line::new();
        line.word(name!("event"), Some(self.event));
        line.moment(name!("timestamp"), self.timestamp);
        line.word(name!("request.id"), Some(&self.request_id));
        line.text(name!("caller.id"), self.caller.as_ref());
        line.word(name!("caller.identified_by"), self.identified_by);
        line.text_if_any(name!("caller.presented"), self.presented.as_ref());
        line.text(name!("network.peer.address"), Some(&self.peer));
        line.text(name!("listener"), Some(&self.listener));
        line.word(name!("http.request.method"), self.method);
        line.word(name!("http.route"), self.route);
        line.text_if_any(name!("url.path"), self.path.as_ref());
        line.text_if_any(name!("server.address"), self.host.as_ref());
        line.number(name!("http.response.status_code"), self.status);
        line.word(name!("mpc.action"), self.action);
        line.text(name!("mpc.project_id"), self.project_id.as_ref());
        line.text(name!("mpc.job_id"), self.job_id.as_ref());
        line.word(name!("policy.effect"), self.effect);
        line.text(name!("policy.rule"), self.rule.as_ref());
        line.text(name!("policy.location"), self.location.as_ref());
        line.text_if_any(name!("policy.reason"), self.policy_reason.as_ref());
        line.word(name!("policy.hash"), self.policy_hash.as_deref());
        line.word(name!("policy.mode"), self.policy_mode);
        line.text(name!("credential.name"), self.credential.as_ref());
        line.text(name!("credential.key_hint"), self.key_hint.as_ref());
        line.number(name!("upstream.attempts"), Some(self.call.attempts));
        line.number(name!("upstream.status_code"), self.call.status);
        line.text(name!("upstream.request_id"), self.call.request_id.as_ref());
        line.text(name!("upstream.error_code"), self.call.error_code.as_ref());
        line.word(name!("outcome"), self.outcome.map(Outcome::as_str));
        let error = self.error.as_ref();
        line.word(name!("error.type"), error.map(|error| error.code.as_str()));
        line.text_if_any(name!("error.reason"), error.map(|error| error.reason.as_str()));
        line.text_if_any(name!("error.message"), error.map(|error| &error.message));
        line.number(name!("duration_ms"), self.duration.map(millis));
        line.number(name!("upstream.duration_ms"), self.call.duration.map(millis));
        line.text(name!("trace_id"), self.trace_id.as_ref());
        line.number_if_any(name!("lookup.status_code"), self.lookup.status);
        line.text_if_any(name!("lookup.request_id"), self.lookup.request_id.as_ref());
        line.number_if_any(name!("lookup.duration_ms"), self.lookup.duration.map(millis));
        line.number_if_any(name!("view.hidden"), self.view_hidden);
        line.text_if_room(name!("mpc.user_data"), self.user_data.as_deref());
        line.words_if_any(name!("mpc.job_ids"), &self.job_ids);
        line.document_if_any(name!("facts"), self.facts.as_deref());
        line.finish()
    }
}

/// An id for a request, or for an answer that is no call's, in Huawei's format: uuid, timestamp, host.
pub fn request_id(now: DateTime<Utc>, hostname: &str) -> String {
    let mut id = String::with_capacity(TYPICAL_ID);
    id.push_str(Uuid::new_v4().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    // A string takes whatever is written.
    write!(id, "-{}-{hostname}", now.timestamp_millis()).ok();
    id
}

/// A text of a caller's, upstream's or the policy's, bounded so that a line is too.
pub fn bounded(text: &str) -> String {
    // As many bytes are not more characters.
    let end = if text.len() <= MAX_CHARS { None } else { text.char_indices().nth(MAX_CHARS) };
    text.get(..end.map_or(text.len(), |(end, _)| end)).unwrap_or_default().to_owned()
}

/// A fact of a job, bounded so that a line is too.
pub fn bounded_bytes(text: &str) -> &str {
    within(text, MAX_FACT)
}

/// As much of a text as has so many bytes, in whole characters.
pub(super) fn within(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// How many values of one fact stand in a record: a line is bounded.
pub const MAX_VALUES: usize = 16;

/// In milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// In bytes: with a hostname of 37.
const TYPICAL_ID: usize = 88;

/// In characters.
const MAX_CHARS: usize = 128;

/// In bytes.
const MAX_FACT: usize = 256;

pub(super) const REQUEST: &str = "request";

const INTENT: &str = "intent";

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let now = DateTime::from_timestamp_millis(1_768_465_800_123).unwrap();
        Record::new("id-1".into(), "app".into(), "127.0.0.1".into(), now)
    }

    #[test]
    fn a_record_is_one_line_of_the_contracts_fields() {
        let mut record = record();
        record.outcome = Some(Outcome::Refused);
        let line = record.line(Duration::from_micros(1500));
        let json: serde_json::Map<String, Value> = serde_json::from_slice(&line).unwrap();
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(json["timestamp"], "2026-01-15T08:30:00.123Z");
        assert_eq!(json["outcome"], "refused");
        assert_eq!(json["duration_ms"], 1.5);
        let names: Vec<&str> = json.keys().map(String::as_str).collect();
        assert_eq!(names, FIELDS.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn no_input_can_forge_a_line() {
        let mut record = record();
        record.call.request_id = Some("x\"}\n{\"event\":\"request\"\u{2028}".into());
        let line = record.line(Duration::ZERO);
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let json: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["upstream.request_id"], "x\"}\n{\"event\":\"request\"\u{2028}");
    }

    #[test]
    fn facts_take_no_more_of_a_line_than_there_is_and_each_is_whole_or_left_out() {
        let mut record = record();
        let objects: Value = (0..16).map(|_| "\u{1}".repeat(256)).collect();
        let owner = Value::from("editor-api/1");
        let facts =
            [("mpc:Input", objects.clone()), ("mpc:UserData", owner.clone()), ("mpc:Output", objects)];
        record.facts =
            Some(Box::new(facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
        let line = record.line(Duration::ZERO);
        assert!(line.len() <= super::super::line::MAX_LINE, "{}", line.len());
        let json: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["facts"], serde_json::json!({ "mpc:UserData": owner }));
    }

    #[test]
    fn a_request_nobody_answered_was_abandoned_or_is_unknown() {
        for (maybe_sent, outcome) in [(false, "abandoned"), (true, "unknown")] {
            let mut record = record();
            record.call.maybe_sent = maybe_sent;
            let line = record.line(Duration::ZERO);
            let json: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(json["outcome"], outcome);
        }
    }

    const FIELDS: &str = "event timestamp request.id caller.id caller.identified_by network.peer.address \
        listener http.request.method http.route http.response.status_code mpc.action mpc.project_id mpc.job_id \
        policy.effect policy.rule policy.location policy.hash policy.mode credential.name credential.key_hint \
        upstream.attempts upstream.status_code upstream.request_id upstream.error_code outcome error.type \
        duration_ms upstream.duration_ms trace_id";
}
