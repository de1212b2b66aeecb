//! The audit record of one request.

use std::{fmt::Write, mem::replace, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Trail,
    line::{Line, name},
};
use crate::reason::{Code, Reason};

/// Which parts of the deciding facts of a job are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedFacts {
    /// Their names and values.
    Values,
    /// Their names only, because facts of a job may be confidential.
    Names,
}

/// The audit record of one request.
#[derive(Debug)]
pub struct Record {
    /// `request`, or `intent` for a call that is about to be sent.
    event: &'static str,
    announced: bool,
    timestamp: DateTime<Utc>,
    request_id: Arc<str>,
    /// The caller, once authenticated.
    pub caller: Option<Arc<str>>,
    /// The kind of credential that identified the caller.
    pub identified_by: Option<&'static str>,
    /// A summary of presented credentials that identified nobody.
    pub presented: Option<String>,
    /// The caller's IP address, or `uid:N` on a Unix socket.
    pub peer: String,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The method, or `_OTHER` if it is not a standard one.
    pub method: Option<&'static str>,
    /// The template of the operation's URL.
    pub route: Option<&'static str>,
    /// The requested path, if no operation or project was found.
    pub path: Option<String>,
    /// `Host`, if it is not one of the listener's.
    pub host: Option<String>,
    /// The status of the caller's answer, if there was one.
    pub status: Option<u16>,
    /// The IAM action.
    pub action: Option<&'static str>,
    /// The project's id.
    pub project_id: Option<Arc<str>>,
    /// The job's id.
    pub job_id: Option<String>,
    /// The effect that was applied: `allow` or `deny`.
    pub effect: Option<&'static str>,
    /// The rule that decided, or would have decided.
    pub rule: Option<String>,
    /// The rule's location, `policy.yaml:LINE`.
    pub location: Option<String>,
    /// The rule's `reason`.
    pub policy_reason: Option<String>,
    /// The hash of the policy that decided.
    pub policy_hash: Option<Arc<str>>,
    /// `enforce`, or the observed effect, such as `would_allow` or `would_deny`.
    pub policy_mode: Option<&'static str>,
    /// The credential that signed the call.
    pub credential: Option<Arc<str>>,
    /// The first four characters of its access key.
    pub key_hint: Option<String>,
    /// The attempts at the call.
    pub call: Trail,
    /// The attempts at the lookup of its job.
    pub lookup: Trail,
    /// The job ids of a view of several: those requested or, for a list, those shown.
    pub job_ids: Vec<String>,
    /// The number of jobs left out of the answer to a view.
    pub view_hidden: Option<usize>,
    /// The deciding facts of the job by key, as configured.
    pub facts: Option<Box<Value>>,
    /// The `user_data` of a create.
    pub user_data: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub error: Option<Failure>,
    duration: Option<Duration>,
    /// The trace id of the caller's `traceparent`.
    pub trace_id: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its `error_code`, such as `PROXY.Forbidden`.
    pub code: Code,
    /// The reason.
    pub reason: Reason,
    /// The message to the caller.
    pub message: String,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Upstream's answer was passed on.
    Forwarded,
    /// The proxy refused it; nothing was sent.
    Refused,
    /// It was sent, and it is unknown whether it was executed.
    Unknown,
    /// It was given up before anything was sent, because the caller or the process ended.
    Abandoned,
    /// It could not be sent, or the proxy failed.
    Failed,
}

impl Outcome {
    /// Returns its name in records and metrics.
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
    /// Opens the record of a request from `peer` to `listener`.
    pub fn new(request_id: Arc<str>, listener: Arc<str>, peer: String, now: DateTime<Utc>) -> Self {
        Self {
            event: REQUEST,
            announced: false,
            // To the millisecond, as written, so that a replay of the record decides at exactly the same time.
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

    /// Returns when the request arrived (`timestamp`).
    pub fn opened_at(&self) -> DateTime<Utc> {
        self.timestamp
    }

    /// Returns the request's id: `request.id`, and `Proxy-Request-Id` of its answer.
    pub fn id(&self) -> &Arc<str> {
        &self.request_id
    }

    /// Returns the finished line, with its line end, of a request that took `duration`.
    ///
    /// If no stage set the outcome, the request was not answered: it was abandoned or, if something may have been sent, its
    /// outcome is unknown.
    pub fn line(&mut self, duration: Duration) -> Vec<u8> {
        self.duration = Some(duration);
        let open = if self.call.maybe_sent { Outcome::Unknown } else { Outcome::Abandoned };
        self.outcome.get_or_insert(open);
        self.written()
    }

    /// Returns the intent of the call. `None` if it was returned before.
    pub(super) fn intent(&mut self) -> Option<Vec<u8>> {
        if replace(&mut self.announced, true) {
            return None;
        }
        self.event = INTENT;
        let line = self.written();
        self.event = REQUEST;
        Some(line)
    }

    /// Writes the fields in reading order: who, what, why, and the outcome.
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

/// Creates a request id in Huawei's format: uuid, timestamp, host.
pub fn request_id(now: DateTime<Utc>, hostname: &str) -> String {
    let mut id = String::with_capacity(TYPICAL_ID);
    id.push_str(Uuid::new_v4().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    // A string takes whatever is written.
    write!(id, "-{}-{hostname}", now.timestamp_millis()).ok();
    id
}

/// Bounds a text of a caller, upstream or the policy, so that lines are bounded.
pub fn bounded(text: &str) -> String {
    // There are never more characters than bytes.
    let end = if text.len() <= MAX_CHARS { None } else { text.char_indices().nth(MAX_CHARS) };
    text.get(..end.map_or(text.len(), |(end, _)| end)).unwrap_or_default().to_owned()
}

/// Bounds a fact of a job, so that lines are bounded.
pub fn bounded_bytes(text: &str) -> &str {
    within(text, MAX_FACT)
}

/// Truncates a text to this number of bytes, at a character boundary.
pub(super) fn within(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// The maximum number of recorded values of one fact.
pub const MAX_VALUES: usize = 16;

/// Converts to milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// In bytes: with a hostname of 37.
const TYPICAL_ID: usize = 88;

/// The maximum length of a text in characters.
const MAX_CHARS: usize = 128;

/// The maximum length of a fact in bytes.
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
