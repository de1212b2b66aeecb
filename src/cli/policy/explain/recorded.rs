//! `policy explain --audit`: explains a recorded decision, and what would be decided today.

use std::fmt;
use std::io::Write;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::records::Records;
use super::super::replay::ask;
use crate::audit::ParsedRecord;
use crate::cli::output::Format;
use crate::escape::shown;
use crate::policy::{DecisionReport, Policy, Scope};

/// A record, and the line that it was read from.
pub(super) struct AuditLine {
    line: String,
    recorded: Value,
}

/// What stands in the record of one request, and what is decided today.
#[derive(Serialize)]
pub(super) struct Compared {
    /// The whole record.
    recorded: Value,
    /// `None` where the policy was not asked.
    now: Option<DecisionReport>,
    /// In which of `effect`, `rule` and `policy` the two differ.
    differs: Vec<&'static str>,
    /// The hash of today's policy.
    policy: String,
    #[serde(skip)]
    told: RecordedReason,
}

/// What of a record is told in words.
#[derive(Deserialize)]
struct RecordedReason {
    timestamp: String,
    #[serde(rename = "request.id")]
    request_id: String,
    #[serde(rename = "caller.id")]
    caller: Option<String>,
    #[serde(rename = "caller.presented")]
    presented: Option<String>,
    #[serde(rename = "network.peer.address")]
    peer: Option<String>,
    #[serde(rename = "http.response.status_code")]
    status: Option<u16>,
    #[serde(rename = "mpc.action")]
    action: Option<String>,
    #[serde(rename = "mpc.job_id")]
    job: Option<String>,
    #[serde(rename = "policy.effect")]
    effect: Option<String>,
    #[serde(rename = "policy.rule")]
    rule: Option<String>,
    #[serde(rename = "policy.location")]
    location: Option<String>,
    #[serde(rename = "policy.hash")]
    hash: Option<String>,
    outcome: Option<String>,
    #[serde(rename = "error.type")]
    code: Option<String>,
    #[serde(rename = "error.reason")]
    reason: Option<String>,
    #[serde(rename = "error.message")]
    message: Option<String>,
}

impl AuditLine {
    /// Finds the record of this request.
    pub(super) fn find(records: &Records, request_id: &str, err: &mut impl Write) -> anyhow::Result<Self> {
        let mut found = None;
        records.each_line(err, |line| {
            if line.contains(request_id) {
                let recorded: Value = serde_json::from_str(line)?;
                let named =
                    |name: &str, value: &str| recorded.get(name).and_then(Value::as_str) == Some(value);
                let is_it = ["request.id", "upstream.request_id", "lookup.request_id"]
                    .iter()
                    .any(|name| named(name, request_id));
                if is_it && named("event", "request") {
                    found = Some(Self { line: line.to_owned(), recorded });
                }
            }
            Ok::<_, serde_json::Error>(())
        })?;
        found.with_context(|| format!("{} has no record of request {request_id}", records.names()))
    }
}

impl Compared {
    /// Asks the policy again about the call of this record.
    pub(super) fn with(record: AuditLine, policy: &Policy, projects: &[Scope]) -> anyhow::Result<Self> {
        let AuditLine { line, recorded } = record;
        let told = RecordedReason::deserialize(&recorded).context("not an audit record")?;
        let now = ParsedRecord::parse(&line)?.map(|seen| ask(policy, &seen, projects));
        let policy = policy.hash().to_string();
        let mut differs = Vec::new();
        if let Some(now) = &now {
            differs.extend((told.effect.as_deref() != Some(now.effect)).then_some("effect"));
            differs.extend((told.rule != now.rule).then_some("rule"));
        }
        differs.extend((told.hash.as_ref().is_some_and(|hash| *hash != policy)).then_some("policy"));
        Ok(Self { recorded, now, differs, policy, told })
    }

    pub(super) fn write(&self, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
        match format {
            Format::Text => write!(out, "{self}")?,
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(self)?)?,
        }
        Ok(())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)?;
        let Some(now) = &self.now else {
            return writeln!(f, "its record has no policy decision to repeat");
        };
        writeln!(f, "today, by policy {}:", self.policy)?;
        for line in now.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        match self.differs.as_slice() {
            [] => writeln!(f, "same policy, same decision"),
            ["policy"] => writeln!(f, "different policy, same decision"),
            differs => writeln!(f, "different: {}", differs.join(", ")),
        }
    }
}

impl fmt::Display for RecordedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = |text: &Option<String>| text.as_ref().map_or_else(|| "-".into(), |text| shown(text));
        writeln!(f, "request {} at {}", shown(&self.request_id), shown(&self.timestamp))?;
        write!(f, "  caller {} from {}", dash(&self.caller), dash(&self.peer))?;
        if let Some(presented) = &self.presented {
            write!(f, ", presented {}", shown(presented))?;
        }
        writeln!(f)?;
        if let Some(action) = &self.action {
            let job = self.job.as_ref().map(|job| format!(", job {}", shown(job))).unwrap_or_default();
            writeln!(f, "  {}{job}", shown(action))?;
        }
        if let Some(effect) = &self.effect {
            let rule = match (&self.rule, &self.location) {
                (Some(rule), Some(location)) => format!("rule `{}` at {}", shown(rule), shown(location)),
                _ => "no rule allowed it".into(),
            };
            writeln!(f, "  recorded: {}, {rule}, by policy {}", shown(effect), dash(&self.hash))?;
        }
        let status = self.status.map_or_else(|| "no answer".into(), |status| status.to_string());
        write!(f, "  {}: {status}", dash(&self.outcome))?;
        for text in [&self.code, &self.reason, &self.message].into_iter().flatten() {
            write!(f, ", {}", shown(text))?;
        }
        writeln!(f)
    }
}
