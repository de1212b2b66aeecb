//! Reports decisions as text for people, and as JSON for programs.

use std::fmt;

use serde::Serialize;

use super::{Closest, Decision, Explanation, Keys, Mode, NearestMiss, Observed, Outcome, Rule};

/// The report of a decision. Its fields are those of the JSON form; it displays as the text form.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DecisionReport {
    /// `allow`, `deny`, or `undetermined` if it depends on unknown facts.
    pub effect: &'static str,
    /// The rule that decides.
    pub rule: Option<String>,
    location: Option<String>,
    /// `observe` if the whole policy is only observed, so that calls are made whatever the effect.
    mode: &'static str,
    /// The rule under observation that would have decided.
    pub observed: Option<ObservedReport>,
    nearest_miss: Option<Miss>,
    reason: Option<String>,
    /// The facts that the effect or the observed effect depends on.
    needs: Vec<&'static str>,
    /// The rules that depend on them.
    waiting: Vec<Waiting>,
}

/// What the rules under observation would have decided.
#[derive(Clone, Debug, Serialize)]
pub struct ObservedReport {
    /// `would_allow`, `would_deny`, or `would_unknown` if it depends on unknown facts.
    effect: &'static str,
    /// The rule that would have decided.
    pub rule: Option<String>,
    location: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Miss {
    rule: String,
    location: String,
    /// The part of the rule that fails.
    field: &'static str,
    /// If the condition fails: the operator.
    operator: Option<String>,
    /// If the condition fails: the key.
    key: Option<&'static str>,
    wanted: String,
    got: Option<String>,
    /// Whose value it is.
    #[serde(skip)]
    whose: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Waiting {
    effect: &'static str,
    rule: String,
    location: String,
    needs: Vec<&'static str>,
}

impl DecisionReport {
    /// Creates the report of an explanation.
    pub fn new(explanation: Explanation<'_>) -> Self {
        let Explanation { outcome, nearest_miss, waiting } = explanation;
        match outcome {
            Outcome::Decided(decision) => Self::decided(decision, nearest_miss),
            Outcome::Undetermined { needs, mode } => Self {
                effect: UNDETERMINED,
                mode: mode.as_str(),
                needs: names(needs),
                waiting: waiting.into_iter().map(Waiting::from).collect(),
                ..Self::default()
            },
        }
    }

    fn decided(decision: Decision<'_>, nearest_miss: Option<NearestMiss<'_>>) -> Self {
        let observed = |effect, rule: Option<&Rule>| ObservedReport {
            effect,
            rule: rule.map(|rule| rule.id.clone()),
            location: rule.map(|rule| rule.location.to_string()),
        };
        let (observed, needs) = match decision.observed {
            Observed::Nothing => (None, Keys::NONE),
            Observed::Rule(rule) => (Some(observed(rule.effect.observed(), Some(rule))), Keys::NONE),
            Observed::Unknown(needs) => (Some(observed("would_unknown", None)), needs),
        };
        Self {
            effect: decision.effect.as_str(),
            rule: decision.rule.map(|rule| rule.id.clone()),
            location: decision.rule.map(|rule| rule.location.to_string()),
            mode: decision.mode.as_str(),
            observed,
            nearest_miss: nearest_miss.map(Miss::from),
            reason: decision.rule.and_then(|rule| rule.reason.clone()),
            needs: names(needs),
            waiting: Vec::new(),
        }
    }
}

fn names(keys: Keys) -> Vec<&'static str> {
    keys.iter().map(|key| key.as_str()).collect()
}

impl From<(&Rule, Keys)> for Waiting {
    fn from((rule, needs): (&Rule, Keys)) -> Self {
        Self {
            effect: rule.effect.as_str(),
            rule: rule.id.clone(),
            location: rule.location.to_string(),
            needs: names(needs),
        }
    }
}

impl From<NearestMiss<'_>> for Miss {
    fn from(NearestMiss { closest: Closest { rule, field, test }, wanted, got }: NearestMiss<'_>) -> Self {
        Self {
            rule: rule.id.clone(),
            location: rule.location.to_string(),
            field: field.as_str(),
            operator: test.map(|test| test.operator().to_string()),
            key: test.map(|test| test.key().as_str()),
            wanted,
            got,
            whose: if test.is_some_and(|test| test.key().is_fact()) { "job" } else { "call" },
        }
    }
}

impl fmt::Display for DecisionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs = self.needs.join(", ");
        match (&self.rule, &self.location) {
            (Some(rule), Some(location)) => writeln!(f, "{}: rule `{rule}` at {location}", self.effect)?,
            _ if self.effect == UNDETERMINED => writeln!(f, "{}: depends on {needs}", self.effect)?,
            _ => writeln!(f, "{}: no rule allows it", self.effect)?,
        }
        self.waiting.iter().take(MAX_RULES_SHOWN).try_for_each(|rule| rule.fmt(f))?;
        if self.waiting.len() > MAX_RULES_SHOWN {
            writeln!(f, "and {} more rules", self.waiting.len() - MAX_RULES_SHOWN)?;
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "reason: {reason}")?;
        }
        if self.mode == Mode::Observe.as_str() {
            writeln!(f, "the policy is in observe mode: the call is sent and recorded")?;
        }
        match &self.observed {
            Some(ObservedReport { effect, rule: Some(rule), location: Some(location) }) => {
                writeln!(f, "{effect}: rule `{rule}` at {location}, in observe mode")?;
            }
            Some(ObservedReport { effect, .. }) => {
                writeln!(f, "{effect}: the rules in observe mode depend on {needs}")?;
            }
            None => {}
        }
        match &self.nearest_miss {
            Some(miss) => miss.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, rule, location, needs } = self;
        writeln!(f, "may {effect}: rule `{rule}` at {location}, by {}", needs.join(", "))
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, location, field, wanted, whose, .. } = self;
        let got = self.got.as_deref().unwrap_or("nothing");
        writeln!(f, "nearest miss: rule `{rule}` at {location}")?;
        match (*field, &self.operator, self.key) {
            ("expires", ..) => writeln!(f, "  it ended at {wanted}; the call is at {got}"),
            ("mode", ..) => writeln!(f, "  it is in observe mode: `mode` is {got}"),
            (_, Some(operator), Some(key)) => {
                writeln!(f, "  its `{operator}` wants `{key}` {wanted}; the {whose} has {got}")
            }
            _ => writeln!(f, "  its `{field}` are {wanted}; the call has {got}"),
        }
    }
}

/// The effect of a decision that depends on unknown facts.
pub const UNDETERMINED: &str = "undetermined";
const MAX_RULES_SHOWN: usize = 10;
