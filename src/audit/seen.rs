//! What does an audit record tell of a decision? The records read back, to ask another policy the same questions.
//!
//! It reads what [`super::Record`] writes, and of that only what a decision depends on. Records of requests that
//! policy was never asked about are no decisions. A file may have been written by somebody else: a value that is never
//! written there is no name that is passed on, least of all one that a policy would read as a pattern.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::identity::CallerId;
use crate::object::Object;
use crate::operation::Segment;
use crate::policy::{Effect, Glob};

/// A decision that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When the request came in.
    pub at: DateTime<Utc>,
    /// Who called.
    pub caller: CallerId,
    /// By which kind of proof that was known.
    pub identified_by: Option<String>,
    /// From where: an IP address, or `uid:N`.
    pub peer: String,
    /// On which listener.
    pub listener: Option<String>,
    /// The IAM action.
    pub action: String,
    /// The project's id.
    pub project_id: String,
    /// The job's id.
    pub job: Segment,
    /// What was done.
    pub effect: Effect,
    /// The rule that the record names.
    pub rule: Option<String>,
    /// Its place.
    pub location: Option<String>,
    /// What the policy was in.
    pub mode: Option<String>,
}

/// Why a line is not an audit record.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// It is not JSON, or a field has another type.
    #[error("not an audit record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has a value that is never written there.
    #[error("not an audit record: `{0}` cannot be {1:?}")]
    Value(&'static str, String),
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    event: Cow<'l, str>,
    #[serde(borrow)]
    timestamp: Cow<'l, str>,
    #[serde(rename = "caller.id")]
    caller: Option<String>,
    #[serde(rename = "caller.identified_by")]
    identified_by: Option<String>,
    #[serde(rename = "network.peer.address")]
    peer: Option<String>,
    listener: Option<String>,
    #[serde(rename = "mpc.action")]
    action: Option<String>,
    #[serde(rename = "mpc.project_id")]
    project_id: Option<String>,
    #[serde(rename = "mpc.job_id")]
    job_id: Option<String>,
    #[serde(rename = "policy.effect")]
    effect: Option<String>,
    #[serde(rename = "policy.rule")]
    rule: Option<String>,
    #[serde(rename = "policy.location")]
    location: Option<String>,
    #[serde(rename = "policy.mode")]
    mode: Option<String>,
}

impl Seen {
    /// The decision a line tells of. `None` where it tells of none.
    ///
    /// # Errors
    /// Where the line is not an audit record; see [`SeenError`].
    pub fn parse(line: &str) -> Result<Option<Self>, SeenError> {
        let Object(line): Object<Line<'_>> = serde_json::from_str(line)?;
        let at = DateTime::parse_from_rfc3339(&line.timestamp)
            .map_err(|_| SeenError::Value("timestamp", line.timestamp.to_string()))?;
        let (true, Some(caller), Some(action), Some(project_id), Some(job), Some(effect)) =
            (line.event == "request", line.caller, line.action, line.project_id, line.job_id, line.effect)
        else {
            return Ok(None);
        };
        let effect = match effect.as_str() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return Err(SeenError::Value("policy.effect", effect)),
        };
        Ok(Some(Self {
            at: at.to_utc(),
            caller: CallerId::parse(&caller).map_err(|_| SeenError::Value("caller.id", caller))?,
            identified_by: valid("caller.identified_by", line.identified_by, is_word)?,
            peer: valid("network.peer.address", line.peer, is_address)?.unwrap_or_default(),
            listener: valid("listener", line.listener, is_segment)?,
            action: valid("mpc.action", Some(action), is_literal)?.unwrap_or_default(),
            project_id: valid("mpc.project_id", Some(project_id), is_segment)?.unwrap_or_default(),
            job: Segment::parse(&job).ok_or(SeenError::Value("mpc.job_id", job))?,
            effect,
            rule: valid("policy.rule", line.rule, is_segment)?,
            location: line.location,
            mode: valid("policy.mode", line.mode, is_word)?,
        }))
    }

    /// The address it came from. `None` on a Unix socket.
    pub fn source_ip(&self) -> Option<IpAddr> {
        self.peer.parse().ok()
    }
}

fn valid(
    field: &'static str,
    value: Option<String>,
    is_valid: fn(&str) -> bool,
) -> Result<Option<String>, SeenError> {
    match value {
        Some(text) if !is_valid(&text) => Err(SeenError::Value(field, text.chars().take(64).collect())),
        other => Ok(other),
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn is_address(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:%_-".contains(&b))
}

fn is_segment(text: &str) -> bool {
    Segment::parse(text).is_some()
}

fn is_literal(text: &str) -> bool {
    Glob::parse(text).is_ok_and(|glob| glob.literal().is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Record;
    use super::*;

    fn record() -> Record {
        let now = "2027-01-15T08:30:00.123456Z".parse().unwrap();
        let mut record = Record::new("id-1".into(), "app".into(), "10.2.3.4".into(), now);
        record.caller = Some("editor-api".into());
        record.identified_by = Some("listener");
        record.action = Some("mpc:editingTask:delete");
        record.project_id = Some("0a1b".into());
        record.job_id = Some("100211".into());
        record.effect = Some("allow");
        record.rule = Some("editor".into());
        record.location = Some("policy.yaml:7".into());
        record.policy_mode = Some("enforce");
        record
    }

    fn line(mut record: Record) -> String {
        String::from_utf8(record.line(Duration::ZERO)).unwrap()
    }

    #[test]
    fn a_record_is_read_back_as_the_decision_it_tells_of() {
        let seen = Seen::parse(&line(record())).unwrap().unwrap();
        assert_eq!(seen.at, record().opened());
        assert_eq!(seen.source_ip(), Some([10, 2, 3, 4].into()));
        let expected = Seen {
            at: record().opened(),
            caller: CallerId::parse("editor-api").unwrap(),
            identified_by: Some("listener".into()),
            peer: "10.2.3.4".into(),
            listener: Some("app".into()),
            action: "mpc:editingTask:delete".into(),
            project_id: "0a1b".into(),
            job: Segment::parse("100211").unwrap(),
            effect: Effect::Allow,
            rule: Some("editor".into()),
            location: Some("policy.yaml:7".into()),
            mode: Some("enforce".into()),
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_record_without_a_decision_is_none_and_what_is_no_record_an_error() {
        let mut undecided = record();
        undecided.effect = None;
        assert_eq!(Seen::parse(&line(undecided)).unwrap(), None);
        let intent = line(record()).replace("\"event\":\"request\"", "\"event\":\"intent\"");
        assert_eq!(Seen::parse(&intent).unwrap(), None);
        for (from, to) in [
            ("\"editor-api\"", "\"_unknown\""),
            ("\"100211\"", "\"../x\""),
            ("\"allow\"", "\"maybe\""),
            ("2027-", "27-"),
            ("\"mpc:editingTask:delete\"", "\"*\""),
            ("\"mpc:editingTask:delete\"", "\"mpc:editingTask:delet?\""),
            ("\"0a1b\"", "\"*\""),
            ("\"0a1b\"", "\"0a1b\\u2028rules:\""),
            ("\"10.2.3.4\"", "\"10.2.3.4\\u0085\""),
            ("\"app\"", "\"a\\npp\""),
            ("\"listener\"", "\"\\u202elistener\""),
            ("\"editor\"", "\"\\u001b[2J\""),
            ("\"enforce\"", "\"en force\""),
            ("{", "["),
            ("}", ""),
        ] {
            let broken = line(record()).replace(from, to);
            assert!(Seen::parse(&broken).is_err(), "{broken}");
        }
    }
}
