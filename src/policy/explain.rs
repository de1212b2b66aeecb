//! Why was this decided, and what would have allowed it?
//!
//! It stands beside the decision and asks it first, so the two cannot disagree; only for a call that nothing
//! allows does it then go through the rules one by one, which is slow and off the way of a request.

use super::{Call, Effect, Glob, Policy, Rule};

/// A decision with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// Whether the call may be made.
    pub effect: Effect,
    /// The rule that decided. `None`: denied, as nothing allows it.
    pub rule: Option<&'p Rule>,
    /// Where no rule decided: the allow rule that came closest. `None` where there is no allow rule.
    pub nearest_miss: Option<NearestMiss<'p>>,
}

/// An allow rule that does not match, and the first of its lists that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMiss<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The list that fails; those before it in [`Field`] match.
    pub field: Field,
    /// Its patterns as they are written, `, ` between them.
    pub wanted: String,
    /// What the call has instead.
    pub got: String,
}

/// The lists of a rule in the order in which they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `callers`
    Callers,
    /// `actions`
    Actions,
    /// `projects`
    Projects,
    /// `jobs`
    Jobs,
}

impl Policy {
    /// The decision, and for a call that nothing allows the rule that came closest: the one with most of caller,
    /// action, project and job matching, in that order; the first in the file of those.
    pub fn explain(&self, call: &Call<'_>) -> Explanation<'_> {
        let decision = self.decide(call);
        let nearest_miss = if decision.rule.is_none() { self.nearest_miss(call) } else { None };
        Explanation { effect: decision.effect, rule: decision.rule, nearest_miss }
    }

    fn nearest_miss(&self, call: &Call<'_>) -> Option<NearestMiss<'_>> {
        let allows = self.rules.iter().filter(|rule| rule.effect == Effect::Allow);
        let misses = allows.filter_map(|rule| Some((rule, self.first_failing(rule, call)?)));
        // `max_by_key` would take the last of several.
        let (rule, field) = misses.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let (wanted, got) = match field {
            Field::Callers => (&rule.callers, call.caller.as_str()),
            Field::Actions => (&rule.actions, call.action),
            Field::Projects => (&rule.projects, call.project),
            Field::Jobs => (&rule.jobs, call.job),
        };
        let wanted = wanted.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ");
        Some(NearestMiss { rule, field, wanted, got: got.to_owned() })
    }

    fn first_failing(&self, rule: &Rule, call: &Call<'_>) -> Option<Field> {
        let names = &self.index;
        [
            (Field::Callers, names.callers.matches(&rule.callers, call.caller.as_str())),
            (Field::Actions, names.actions.matches(&rule.actions, call.action)),
            (Field::Projects, names.projects.matches(&rule.projects, call.project)),
            (Field::Jobs, rule.jobs.iter().any(|glob| glob.is_match(call.job))),
        ]
        .into_iter()
        .find_map(|(field, matches)| (!matches).then_some(field))
    }
}

impl Field {
    /// As in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callers => "callers",
            Self::Actions => "actions",
            Self::Projects => "projects",
            Self::Jobs => "jobs",
        }
    }
}
