//! Parses audit records back into decisions, to evaluate another policy for the same calls.
//!
//! It reads only the fields that a decision depends on. Records of requests that the policy never evaluated are not
//! decisions. A file may come from elsewhere, so a value that [`super::Record`] would never write is an error, above all one
//! that a policy would read as a pattern.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::MAX_VALUES;
use crate::identity::CallerId;
use crate::object::Object;
use crate::operation::{CREATE, Segment};
use crate::policy::{Effect, Facts, Glob, Key};

/// A recorded decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// When the request arrived.
    pub at: DateTime<Utc>,
    /// The caller.
    pub caller: CallerId,
    /// The kind of credential that identified the caller.
    pub identified_by: Option<String>,
    /// The source: an IP address, or `uid:N`.
    pub peer: String,
    /// The listener.
    pub listener: Option<String>,
    /// The IAM action.
    pub action: String,
    /// The project's id.
    pub project_id: String,
    /// The job's id. Absent only for a create whose job the cloud did not tell.
    pub job: Option<Segment>,
    /// The facts that the record has of the job.
    pub facts: Facts,
    /// The same facts by key, as recorded.
    pub told: Vec<(Key, Vec<String>)>,
    /// The job's `user_data`, if recorded in full.
    pub user_data: Option<String>,
    /// The effect that was applied.
    pub effect: Effect,
    /// The recorded rule.
    pub rule: Option<String>,
    /// The rule's location.
    pub location: Option<String>,
    /// The recorded mode.
    pub mode: Option<String>,
    /// Whether it was sent and the cloud refused it.
    pub refused_by_cloud: bool,
}

/// Why a line is not a valid audit record.
#[derive(Debug, thiserror::Error)]
pub enum ParseRecordError {
    /// It is not JSON, or a field has the wrong type.
    #[error("not an audit record: {}", within_line(.0))]
    Malformed(#[from] serde_json::Error),
    /// A field has an impossible value.
    #[error("not an audit record: `{0}` cannot be {1:?}")]
    Value(&'static str, String),
}

/// The error without its line, which is always the first: whoever reads it knows the line in the file.
fn within_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
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
    #[serde(rename = "mpc.user_data")]
    user_data: Option<String>,
    facts: Option<Value>,
    #[serde(rename = "policy.effect")]
    effect: Option<String>,
    #[serde(rename = "policy.rule")]
    rule: Option<String>,
    #[serde(rename = "policy.location")]
    location: Option<String>,
    #[serde(rename = "policy.mode")]
    mode: Option<String>,
    #[serde(rename = "upstream.status_code")]
    upstream_status: Option<u16>,
}

/// Returns the facts that are recorded in full; none if only names are recorded. `null` means absent.
fn complete_facts(facts: Option<Value>) -> Result<Vec<(Key, Vec<String>)>, ParseRecordError> {
    let facts = match facts {
        None | Some(Value::Array(_)) => return Ok(Vec::new()),
        Some(Value::Object(facts)) => facts,
        Some(other) => return Err(ParseRecordError::Value("facts", other.to_string())),
    };
    let texts = |value: Value| match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(texts) => texts.into_iter().map(|text| text.as_str().map(String::from)).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let mut told = Vec::new();
    for (name, value) in facts {
        // A later version may have written other facts.
        let Some(key) = Key::parse(&name).filter(|key| key.is_fact()) else { continue };
        let values = texts(value).ok_or(ParseRecordError::Value("facts", name))?;
        // A list of the maximum length may have been truncated.
        if values.len() < MAX_VALUES && values.iter().all(|value| value.len() < MAYBE_TRUNCATED) {
            told.push((key, values));
        }
    }
    Ok(told)
}

impl ParsedRecord {
    /// Parses a line. Returns `None` if it has no decision.
    ///
    /// # Errors
    /// If the line is not an audit record; see [`ParseRecordError`].
    pub fn parse(line: &str) -> Result<Option<Self>, ParseRecordError> {
        let Object(line): Object<Line<'_>> = serde_json::from_str(line)?;
        let at = DateTime::parse_from_rfc3339(&line.timestamp)
            .map_err(|_| ParseRecordError::Value("timestamp", line.timestamp.to_string()))?;
        let (true, Some(caller), Some(action), Some(project_id), Some(effect)) =
            (line.event == "request", line.caller, line.action, line.project_id, line.effect)
        else {
            return Ok(None);
        };
        let creates = action == CREATE;
        let job = match line.job_id {
            Some(job) => Some(Segment::parse(&job).ok_or(ParseRecordError::Value("mpc.job_id", job))?),
            None if creates => None,
            // In a view of many jobs each was decided by itself.
            None => return Ok(None),
        };
        let told = complete_facts(line.facts)?;
        let of_facts =
            told.iter().find(|(key, _)| *key == Key::UserData).and_then(|(_, values)| values.first());
        let user_data =
            line.user_data.filter(|text| text.len() < MAYBE_TRUNCATED).or_else(|| of_facts.cloned());
        let given = if creates { Facts::given_to_create } else { Facts::given };
        let facts = given(&told).map_err(|error| ParseRecordError::Value("facts", error.to_string()))?;
        let effect = match effect.as_str() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return Err(ParseRecordError::Value("policy.effect", effect)),
        };
        Ok(Some(Self {
            at: at.to_utc(),
            caller: CallerId::parse(&caller).map_err(|_| ParseRecordError::Value("caller.id", caller))?,
            identified_by: valid("caller.identified_by", line.identified_by, is_word)?,
            peer: valid("network.peer.address", line.peer, is_address)?.unwrap_or_default(),
            listener: valid("listener", line.listener, is_segment)?,
            action: valid("mpc.action", Some(action), is_literal)?.unwrap_or_default(),
            project_id: valid("mpc.project_id", Some(project_id), is_segment)?.unwrap_or_default(),
            job,
            facts,
            told,
            user_data,
            effect,
            rule: valid("policy.rule", line.rule, is_segment)?,
            location: line.location,
            mode: valid("policy.mode", line.mode, is_word)?,
            refused_by_cloud: line.upstream_status.is_some_and(|status| (400..500).contains(&status)),
        }))
    }

    /// Returns the job of the call. `None` if it created one.
    pub fn about(&self) -> Option<&str> {
        self.job.as_ref().filter(|_| self.action != CREATE).map(Segment::as_str)
    }

    /// Returns the source address. `None` on a Unix socket.
    pub fn source_ip(&self) -> Option<IpAddr> {
        self.peer.parse().ok()
    }
}

fn valid(
    field: &'static str,
    value: Option<String>,
    is_valid: fn(&str) -> bool,
) -> Result<Option<String>, ParseRecordError> {
    match value {
        Some(text) if !is_valid(&text) => {
            Err(ParseRecordError::Value(field, text.chars().take(64).collect()))
        }
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

/// Values have at most 256 bytes. One that is nearly as long may have been truncated at a character boundary.
const MAYBE_TRUNCATED: usize = 253;

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
        let seen = ParsedRecord::parse(&line(record())).unwrap().unwrap();
        assert_eq!(seen.at, record().opened_at());
        assert_eq!(seen.source_ip(), Some([10, 2, 3, 4].into()));
        let expected = ParsedRecord {
            at: record().opened_at(),
            caller: CallerId::parse("editor-api").unwrap(),
            identified_by: Some("listener".into()),
            peer: "10.2.3.4".into(),
            listener: Some("app".into()),
            action: "mpc:editingTask:delete".into(),
            project_id: "0a1b".into(),
            job: Segment::parse("100211"),
            facts: Facts::none_known().clone(),
            told: vec![],
            user_data: None,
            effect: Effect::Allow,
            rule: Some("editor".into()),
            location: Some("policy.yaml:7".into()),
            mode: Some("enforce".into()),
            refused_by_cloud: false,
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_record_without_a_decision_is_none_and_what_is_no_record_an_error() {
        let mut undecided = record();
        undecided.effect = None;
        assert_eq!(ParsedRecord::parse(&line(undecided)).unwrap(), None);
        let intent = line(record()).replace("\"event\":\"request\"", "\"event\":\"intent\"");
        assert_eq!(ParsedRecord::parse(&intent).unwrap(), None);
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
            assert!(ParsedRecord::parse(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_facts_that_a_record_tells_whole_are_known_and_no_others() {
        let with = |facts: &str| line(record()).replacen('{', &format!("{{\"facts\":{facts},"), 1);
        let read = |facts: &str| ParsedRecord::parse(&with(facts)).map(|seen| seen.unwrap().facts);
        let given = |told: &[(Key, &[&str])]| {
            let owned =
                |(key, values): &(Key, &[&str])| (*key, values.iter().map(ToString::to_string).collect());
            Facts::given(&told.iter().map(owned).collect::<Vec<_>>()).unwrap()
        };
        let long = "x".repeat(256);
        for (facts, expected) in [
            ("{\"mpc:UserData\":\"a/1\"}", given(&[(Key::UserData, &["a/1"])])),
            ("{\"mpc:Input\":[\"b/x\",\"b/y\"]}", given(&[(Key::Input, &["b/x", "b/y"])])),
            ("{\"mpc:UserData\":null,\"mpc:Output\":[]}", given(&[(Key::UserData, &[]), (Key::Output, &[])])),
            ("[\"mpc:UserData\"]", given(&[])),
            ("{\"mpc:Later\":\"a\",\"mpc:JobId\":\"a\"}", given(&[])),
            (&format!("{{\"mpc:UserData\":\"{long}\"}}"), given(&[])),
            (&format!("{{\"mpc:InputObject\":[\"a\",\"{long}\"]}}"), given(&[])),
            (&format!("{{\"mpc:InputObject\":[{}]}}", ["\"a\""; 16].join(",")), given(&[])),
        ] {
            assert_eq!(read(facts).unwrap(), expected, "{facts}");
        }
        for facts in [
            "{\"mpc:UserData\":[\"a\",\"b\"]}",
            "{\"mpc:JobStatus\":\"SUCCEED\"}",
            "1",
            "{\"mpc:Input\":[1]}",
        ] {
            assert!(read(facts).is_err(), "{facts}");
        }
    }

    #[test]
    fn a_call_that_created_a_job_was_about_none_and_one_about_many_is_no_decision() {
        let of = |action, job_id: Option<&str>| {
            let mut record = record();
            (record.action, record.job_id) = (Some(action), job_id.map(str::to_owned));
            line(record)
        };
        let whole = of(CREATE, Some("100211")).replacen('{', "{\"mpc.user_data\":\"editor-api/7\",", 1);
        let seen = ParsedRecord::parse(&whole).unwrap().unwrap();
        assert_eq!((seen.about(), seen.job.as_ref().map(Segment::as_str)), (None, Some("100211")));
        assert_eq!(seen.user_data.as_deref(), Some("editor-api/7"));
        assert_eq!(seen.facts, Facts::given_to_create(&[]).unwrap());
        assert!(ParsedRecord::parse(&of(CREATE, None)).unwrap().unwrap().job.is_none());
        assert_eq!(ParsedRecord::parse(&of("mpc:editingTask:view", None)).unwrap(), None);
    }
}
