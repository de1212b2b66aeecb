//! Decisions, and the facts that they need.
//!
//! It evaluates the index and the conditions. Unknown facts never allow, and a deny rule that may hold is not skipped. If
//! every possible value of the unknown facts has the same effect, that effect is decided.

use std::cell::Cell;

use super::condition::{Keys, Truth};
use super::index::{self, Cells};
use super::jobs::Applying;
use super::{Call, Effect, Mode, Policy, Rule};

/// The result of evaluating a policy for a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'p> {
    /// The effect is the same whatever the unknown facts are.
    Decided(Decision<'p>),
    /// The effect depends on unknown facts.
    Undetermined {
        /// The facts, at least one.
        needs: Keys,
        /// Whether the policy is enforced.
        mode: Mode,
    },
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// The effect of the enforced rules. `mode` says whether it is applied; see [`Decision::applied`].
    pub effect: Effect,
    /// The first rule in the file that is known to decide. `None` if no rule allows the call.
    pub rule: Option<&'p Rule>,
    /// Whether the policy is enforced.
    pub mode: Mode,
    /// What the rules under observation would have decided.
    pub observed: Observed<'p>,
}

/// What the rules under observation would have decided if they were enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'p> {
    /// Nothing.
    Nothing,
    /// This rule would have decided, with the same or another effect.
    Rule(&'p Rule),
    /// Whether they would have changed the effect depends on these facts.
    Unknown(Keys),
}

/// Why to look a job up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededFacts {
    /// No lookup: unknown facts change nothing.
    Nothing,
    /// The decision needs these facts.
    ToDecide(Keys),
    /// A rule under observation needs these facts. Their lookup must not change the effect.
    ToObserve(Keys),
}

struct MatchedRules<'p> {
    /// The first that is known to apply.
    rule: Option<&'p Rule>,
    /// If there is none, the facts that other rules depend on.
    unknown: Keys,
}

struct Search<'p, 'c> {
    policy: &'p Policy,
    call: &'c Call<'c>,
    cells: Cells<'p>,
}

impl Policy {
    /// Decides a call. One with an unknown caller, project or action is denied, whatever the rules say.
    pub fn decide(&self, call: &Call<'_>) -> Outcome<'_> {
        let nothing =
            Decision { effect: Effect::Deny, rule: None, mode: self.mode, observed: Observed::Nothing };
        let Some(cells) = self.index.of(call.caller, call.action, call.project) else {
            return Outcome::Decided(nothing);
        };
        let search = Search { policy: self, call, cells };
        let denial = search.first(Mode::Enforce, Effect::Deny);
        if let Some(rule) = denial.rule {
            // No other rule can allow it.
            let observed = if self.observes { search.first(Mode::Observe, Effect::Deny).rule } else { None };
            let observed = observed.map_or(Observed::Nothing, Observed::Rule);
            return Outcome::Decided(Decision { rule: Some(rule), observed, ..nothing });
        }
        let permission = search.first(Mode::Enforce, Effect::Allow);
        let needs = permission.needs(denial.unknown);
        if !needs.is_empty() {
            return Outcome::Undetermined { needs, mode: self.mode };
        }
        let rule = permission.rule;
        let effect = rule.map_or(Effect::Deny, |rule| rule.effect);
        let observed =
            if self.observes { search.observed(denial.unknown, effect) } else { Observed::Nothing };
        Outcome::Decided(Decision { effect, rule, observed, ..nothing })
    }
}

impl<'p> Search<'p, '_> {
    fn first(&self, mode: Mode, effect: Effect) -> MatchedRules<'p> {
        let unknown = Cell::new(Keys::NONE);
        let applies = |number: usize| {
            let Some(rule) = self.policy.rules.get(number) else { return false };
            match self.policy.applies(rule, self.call) {
                Truth::Yes => true,
                Truth::No => false,
                Truth::Unknown(keys) => {
                    // The index asks before it has matched the job.
                    if rule.matches_job(self.call.job) {
                        unknown.set(unknown.get().and(keys));
                    }
                    false
                }
            }
        };
        let jobs = self.policy.index.jobs(self.cells, mode, effect);
        let found = index::first(jobs, self.call.job, Applying::Where(&applies));
        MatchedRules { rule: found.and_then(|number| self.policy.rules.get(number)), unknown: unknown.get() }
    }

    /// Evaluates the rules under observation, when no enforced rule is known to deny; some may, depending on `denials`.
    fn observed(&self, denials: Keys, effect: Effect) -> Observed<'p> {
        let denial = self.first(Mode::Observe, Effect::Deny);
        if let Some(rule) = denial.rule {
            return Observed::Rule(rule);
        }
        let permission = self.first(Mode::Observe, Effect::Allow);
        let needs = match effect {
            // It is allowed anyway, unless one of the unknown denials applies.
            Effect::Allow => denial.unknown,
            Effect::Deny => permission.needs(denials.and(denial.unknown)),
        };
        match permission.rule {
            _ if !needs.is_empty() => Observed::Unknown(needs),
            Some(rule) => Observed::Rule(rule),
            None => Observed::Nothing,
        }
    }
}

impl MatchedRules<'_> {
    /// Returns the facts that decide whether these permissions allow, given the facts that denials depend on.
    fn needs(&self, denials: Keys) -> Keys {
        match self.rule {
            Some(_) => denials,
            // Denied, whatever the denials are.
            None if self.unknown.is_empty() => Keys::NONE,
            None => denials.and(self.unknown),
        }
    }
}

impl<'p> Outcome<'p> {
    /// Returns the decision, if there is one.
    pub fn decision(&self) -> Option<&Decision<'p>> {
        match self {
            Self::Decided(decision) => Some(decision),
            Self::Undetermined { .. } => None,
        }
    }

    /// Returns the effect that is applied, if decided. A policy in observe mode refuses nothing.
    pub fn applied(&self) -> Option<Effect> {
        match self {
            Self::Decided(decision) => Some(decision.applied()),
            Self::Undetermined { mode: Mode::Observe, .. } => Some(Effect::Allow),
            Self::Undetermined { mode: Mode::Enforce, .. } => None,
        }
    }

    /// Returns the facts to look up.
    pub fn needed_facts(&self) -> NeededFacts {
        match self {
            Self::Undetermined { needs, mode: Mode::Enforce } => NeededFacts::ToDecide(*needs),
            Self::Undetermined { needs, mode: Mode::Observe } => NeededFacts::ToObserve(*needs),
            Self::Decided(decision) => match decision.observed {
                Observed::Unknown(needs) => NeededFacts::ToObserve(needs),
                Observed::Nothing | Observed::Rule(_) => NeededFacts::Nothing,
            },
        }
    }
}

impl Decision<'_> {
    /// Returns the effect that is applied. A policy in observe mode refuses nothing.
    pub fn applied(&self) -> Effect {
        match self.mode {
            Mode::Enforce => self.effect,
            Mode::Observe => Effect::Allow,
        }
    }
}

impl<'p> Observed<'p> {
    /// Returns the rule, if there is one.
    pub fn rule(self) -> Option<&'p Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }
}
