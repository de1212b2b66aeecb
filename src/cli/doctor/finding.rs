//! Findings of `doctor`, as text and as JSON.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::escape::shown;

/// The status of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckStatus {
    Ok,
    /// It works, but should be changed.
    Warn,
    /// It makes calls fail.
    Fail,
}

/// The result of one check.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    /// The kind of check.
    check: &'static str,
    /// What was checked.
    name: String,
    #[serde(rename = "status")]
    pub(super) verdict: CheckStatus,
    message: String,
    /// Further details, one per line.
    details: Vec<String>,
    /// What to do about it.
    hint: Option<String>,
    facts: Map<String, Value>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, name: impl Into<String>, message: impl Into<String>) -> Self {
        let (name, message) = (name.into(), message.into());
        let (details, facts) = (Vec::new(), Map::new());
        Self { check, name, verdict: CheckStatus::Ok, message, details, hint: None, facts }
    }

    /// Makes it a warning, with a hint.
    pub(super) fn warn(self, hint: impl Into<String>) -> Self {
        Self { verdict: CheckStatus::Warn, hint: Some(hint.into()), ..self }
    }

    /// Makes it a failure, with a hint.
    pub(super) fn fail(self, hint: impl Into<String>) -> Self {
        Self { verdict: CheckStatus::Fail, hint: Some(hint.into()), ..self }
    }

    /// It works, but where this holds: what to do about it.
    pub(super) fn warn_if(self, holds: bool, hint: impl Into<String>) -> Self {
        if holds { self.warn(hint) } else { self }
    }

    /// It works, unless this holds: what to do about it.
    pub(super) fn fail_if(self, holds: bool, hint: impl Into<String>) -> Self {
        if holds { self.fail(hint) } else { self }
    }

    /// Whether something answers there.
    pub(super) fn is_in_use(&self) -> bool {
        self.facts.get("in_use") == Some(&Value::Bool(true))
    }

    pub(super) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.into(), value.into());
        self
    }
}

/// Writes one paragraph per finding: status, name and result in columns, then the hint.
pub(super) fn write(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let checks = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
    let names = findings.iter().map(|f| f.name.chars().count().min(MAX_NAME_WIDTH)).max().unwrap_or(0);
    for Finding { check, name, verdict, message, details, hint, .. } in findings {
        let verdict = match verdict {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "fail",
        };
        let (name, message) = (shown(name), shown(message));
        writeln!(out, "{verdict:<4}  {check:<checks$}  {name:<names$}  {message}")?;
        for detail in details {
            for (number, line) in detail.lines().enumerate() {
                writeln!(out, "      {} {}", if number == 0 { '-' } else { ' ' }, shown(line))?;
            }
        }
        if let Some(hint) = hint {
            writeln!(out, "      = {}", shown(hint))?;
        }
    }
    Ok(())
}

/// Counts the findings with this status.
pub(super) fn count(findings: &[Finding], verdict: CheckStatus) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

/// Formats a time for JSON.
pub(super) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Formats a duration in its two largest units, without its sign.
pub(super) fn format_span(time: TimeDelta) -> String {
    let seconds = time.num_seconds().abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (1, ..) => format!("1 day {hours} h"),
        _ => format!("{days} days"),
    }
}

/// The maximum width of a name. A longer one, such as a path, gets a line of its own.
const MAX_NAME_WIDTH: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_and_say_what_to_do() {
        let findings = [
            Finding::ok("dns", "mpc.example", "10.0.0.1"),
            Finding::ok("credential", "prod", "no\x1b[31m").detail("not profile").fail("do something"),
        ];
        let mut out = Vec::new();
        write(&findings, &mut out).unwrap();
        let expected = "\
ok    dns         mpc.example  10.0.0.1
fail  credential  prod         no\\u{1b}[31m
      - not profile
      = do something
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn time_is_told_as_people_tell_it() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (-1200, "20 min"),
            (3600 * 5 + 59 * 60, "5 h 59 min"),
            (86_400 + 7200, "1 day 2 h"),
            (86_400 * 200 + 5, "200 days"),
        ] {
            assert_eq!(format_span(TimeDelta::seconds(seconds)), expected);
        }
    }
}
