//! `policy explain --audit`: compares a recorded decision with today's.

use std::{fmt, io::Write};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::super::{records::Records, replay::ask};
use crate::{
    audit::ParsedRecord,
    escape::shown,
    policy::{DecisionReport, Policy, Scope},
};

/// A recorded decision and today's.
#[derive(Serialize)]
pub(super) struct Compared {
    /// The whole record.
    recorded: Value,
    /// `None` if the policy was not evaluated.
    now: Option<DecisionReport>,
    /// Which of `effect`, `rule` and `policy` differ.
    differs: Vec<&'static str>,
    /// The hash of today's policy.
    policy: String,
}

/// Finds the line with the record of this request.
pub(super) fn find_line(records: &Records, request_id: &str, err: &mut impl Write) -> anyhow::Result<String> {
    let mut found = None;
    records.each_line(err, |line| {
        if line.contains(request_id) {
            let recorded: Value = serde_json::from_str(line)?;
            let mut ids = ["request.id", "upstream.request_id", "lookup.request_id"].into_iter();
            let is_of_it = ids.any(|name| text_of(&recorded, name) == Some(request_id));
            if is_of_it && text_of(&recorded, "event") == Some("request") {
                found = Some(line.to_owned());
            }
        }
        Ok::<_, serde_json::Error>(())
    })?;
    found.with_context(|| format!("{} has no record of request {request_id}", records.names()))
}

/// Returns a text of a record.
fn text_of<'r>(record: &'r Value, name: &str) -> Option<&'r str> {
    record.get(name).and_then(Value::as_str)
}

impl Compared {
    /// Decides the call in a line again.
    pub(super) fn with(line: &str, policy: &Policy, projects: &[Scope]) -> anyhow::Result<Self> {
        let now = ParsedRecord::parse(line)?.map(|seen| ask(policy, &seen, projects));
        let (recorded, policy): (Value, _) = (serde_json::from_str(line)?, policy.hash().to_string());
        let mut differs = Vec::new();
        if let Some(now) = &now {
            differs.extend((text_of(&recorded, "policy.effect") != Some(now.effect)).then_some("effect"));
            differs.extend((text_of(&recorded, "policy.rule") != now.rule.as_deref()).then_some("rule"));
        }
        let hash = text_of(&recorded, "policy.hash");
        differs.extend(hash.is_some_and(|hash| hash != policy).then_some("policy"));
        Ok(Self { recorded, now, differs, policy })
    }

    /// Writes the record for people.
    fn write_record(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name| text_of(&self.recorded, name).map(shown);
        let dash = |name| text(name).unwrap_or_else(|| "-".into());
        writeln!(f, "request {} at {}", dash("request.id"), dash("timestamp"))?;
        write!(f, "  caller {} from {}", dash("caller.id"), dash("network.peer.address"))?;
        if let Some(presented) = text("caller.presented") {
            write!(f, ", presented {presented}")?;
        }
        writeln!(f)?;
        if let Some(action) = text("mpc.action") {
            let job = text("mpc.job_id").map(|job| format!(", job {job}")).unwrap_or_default();
            writeln!(f, "  {action}{job}")?;
        }
        if let Some(effect) = text("policy.effect") {
            let rule = match (text("policy.rule"), text("policy.location")) {
                (Some(rule), Some(location)) => format!("rule `{rule}` at {location}"),
                _ => "no rule allowed it".into(),
            };
            writeln!(f, "  recorded: {effect}, {rule}, by policy {}", dash("policy.hash"))?;
        }
        let status = self.recorded.get("http.response.status_code").and_then(Value::as_u64);
        let status = status.map_or_else(|| "no answer".into(), |status| status.to_string());
        write!(f, "  {}: {status}", dash("outcome"))?;
        for text in ["error.type", "error.reason", "error.message"].into_iter().filter_map(text) {
            write!(f, ", {text}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_record(f)?;
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
