//! The results of test cases.

use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::output::counted;
use crate::config::{Case, CaseFile, Expected};
use crate::policy::{Call, DecisionReport, Effect, Policy, UNDETERMINED};

/// The results of all files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) cases: Vec<Outcome>,
}

/// The result of one case.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) name: String,
    pub(super) passed: bool,
    /// The expected decision in words.
    pub(super) expected: String,
    /// The actual decision.
    pub(super) decided: DecisionReport,
}

impl Results {
    pub(super) fn add(&mut self, path: &Path, file: &CaseFile, now: DateTime<Utc>) {
        for case in &file.cases {
            let decided = decide(case, &file.policy, now);
            let passed = matches_expected(&decided, &case.expected);
            *(if passed { &mut self.passed } else { &mut self.failed }) += 1;
            self.cases.push(Outcome {
                file: path.display().to_string(),
                line: case.line,
                name: case.name.clone(),
                passed,
                expected: format_value(&case.expected),
                decided,
            });
        }
    }

    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        for case in &self.cases {
            let Outcome { file, line, name, passed, expected, decided } = case;
            if *passed {
                writeln!(out, "ok    {name}")?;
                continue;
            }
            writeln!(out, "FAIL  {name} ({file}:{line})\n      expected {expected}, got")?;
            for line in decided.to_string().lines() {
                writeln!(out, "      {line}")?;
            }
        }
        let count = counted(self.cases.len(), "case");
        writeln!(out, "\n{count}: {} passed, {} failed", self.passed, self.failed)
    }
}

fn decide(case: &Case, policy: &Policy, now: DateTime<Utc>) -> DecisionReport {
    let call = Call {
        caller: &case.caller,
        action: &case.action,
        project: &case.project,
        job: case.job.as_deref(),
        facts: &case.facts,
        at: case.time.unwrap_or(now),
        source_ip: case.source_ip,
        listener: case.listener.as_deref(),
        identified_by: case.identified_by.as_deref(),
    };
    DecisionReport::new(policy.explain(&call))
}

fn matches_expected(decided: &DecisionReport, expected: &Expected) -> bool {
    let observed = decided.observed.as_ref().and_then(|observed| observed.rule.as_deref());
    decided.effect == word(expected.effect)
        && expected.rule.as_ref().is_none_or(|rule| rule.as_deref() == decided.rule.as_deref())
        && expected.observed.as_ref().is_none_or(|rule| rule.as_deref() == observed)
}

fn word(effect: Option<Effect>) -> &'static str {
    effect.map_or(UNDETERMINED, Effect::as_str)
}

fn format_value(expected: &Expected) -> String {
    let mut text = word(expected.effect).to_owned();
    for (what, rule) in [(" by", &expected.rule), (", observed by", &expected.observed)] {
        match rule {
            Some(Some(rule)) => text += &format!("{what} `{rule}`"),
            Some(None) => text += &format!("{what} no rule"),
            None => {}
        }
    }
    text
}
