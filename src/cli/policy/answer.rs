//! What was decided, in words? As text for a person, and as JSON with the same names for a program.

use std::fmt;

use serde::Serialize;

use crate::policy::{Explanation, Mode, NearestMiss};

/// A decision in words: its fields are those of the JSON answer, and it displays as the text one.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// What the rules in force say.
    pub(super) effect: &'static str,
    pub(super) rule: Option<String>,
    location: Option<String>,
    /// `observe` where the policy as a whole is only observed, and the call is made whatever the effect.
    mode: &'static str,
    /// The rule under observation that would have decided.
    pub(super) observed: Option<Observed>,
    nearest_miss: Option<Miss>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Observed {
    /// `would_allow` or `would_deny`.
    effect: &'static str,
    pub(super) rule: String,
    location: String,
}

#[derive(Debug, Serialize)]
struct Miss {
    rule: String,
    location: String,
    /// The part of the rule that fails.
    field: &'static str,
    /// Where that is the condition: which operator.
    operator: Option<String>,
    /// And which key.
    key: Option<&'static str>,
    wanted: String,
    got: Option<String>,
}

impl Answer {
    pub(super) fn new(explanation: Explanation<'_>) -> Self {
        let Explanation { decision, nearest_miss } = explanation;
        Self {
            effect: decision.effect.as_str(),
            rule: decision.rule.map(|rule| rule.id.clone()),
            location: decision.rule.map(|rule| rule.location.to_string()),
            mode: decision.mode.as_str(),
            observed: decision.observed.map(|rule| Observed {
                effect: rule.effect.observed(),
                rule: rule.id.clone(),
                location: rule.location.to_string(),
            }),
            nearest_miss: nearest_miss.map(Miss::from),
            reason: decision.rule.and_then(|rule| rule.reason.clone()),
        }
    }
}

impl From<NearestMiss<'_>> for Miss {
    fn from(miss: NearestMiss<'_>) -> Self {
        Self {
            rule: miss.rule.id.clone(),
            location: miss.rule.location.to_string(),
            field: miss.field.as_str(),
            operator: miss.test.map(|test| test.operator().to_string()),
            key: miss.test.map(|test| test.key().as_str()),
            wanted: miss.wanted,
            got: miss.got,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rule, &self.location) {
            (Some(rule), Some(location)) => writeln!(f, "{}: rule `{rule}` at {location}", self.effect)?,
            _ => writeln!(f, "{}: no rule allows it", self.effect)?,
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "reason: {reason}")?;
        }
        if self.mode == Mode::Observe.as_str() {
            writeln!(f, "the policy is only observed: the call is made, and recorded")?;
        }
        if let Some(Observed { effect, rule, location }) = &self.observed {
            writeln!(f, "{effect}: rule `{rule}` at {location}, which is only observed")?;
        }
        match &self.nearest_miss {
            Some(miss) => miss.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, location, field, wanted, .. } = self;
        let got = self.got.as_deref().unwrap_or("nothing");
        writeln!(f, "nearest miss: rule `{rule}` at {location}")?;
        match (*field, &self.operator, self.key) {
            ("expires", ..) => writeln!(f, "  it ended at {wanted}; the call is at {got}"),
            ("mode", ..) => writeln!(f, "  it is only observed: `mode` is {got}"),
            (_, Some(operator), Some(key)) => {
                writeln!(f, "  its `{operator}` wants `{key}` {wanted}; the call has {got}")
            }
            _ => writeln!(f, "  its `{field}` are {wanted}; the call has {got}"),
        }
    }
}
