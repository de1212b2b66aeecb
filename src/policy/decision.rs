//! Decisions, and the facts that they need. A rule whose condition depends on unknown facts may hold.
//!
//! It stands above the index and the conditions, which it asks. What is unknown never allows, and a denial that may
//! hold is not passed over; but where every answer to what is unknown would have the same effect, that is decided.

use std::cell::Cell;

use super::condition::{Keys, Truth};
use super::index::{self, Cells};
use super::jobs::Applying;
use super::{Call, Effect, Mode, Policy, Rule};

/// What a policy says to a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'p> {
    /// Whatever else becomes known of the job, the effect stays.
    Decided(Decision<'p>),
    /// The effect depends on facts that are not known.
    Undetermined(Undetermined),
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// What the rules in force say. Whether it is applied is `mode`'s to say; see [`Decision::applied`].
    pub effect: Effect,
    /// The rule that decided, the first in the file of those that are known to. `None`: denied, as nothing allows it.
    pub rule: Option<&'p Rule>,
    /// Whether the policy is in force at all.
    pub mode: Mode,
    /// What the rules under observation would have said.
    pub observed: Observed<'p>,
}

/// What rules under observation would have said, were they in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'p> {
    /// Nothing.
    Nothing,
    /// This one would have decided, or would have said the same.
    Rule(&'p Rule),
    /// Whether they would have changed the effect depends on these facts.
    Unknown(Keys),
}

/// What the effect depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undetermined {
    /// The facts, of which there is at least one.
    pub needs: Keys,
    /// Whether the policy is in force at all.
    pub mode: Mode,
}

/// What to look a job up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededFacts {
    /// Not at all: what is unknown changes nothing.
    Nothing,
    /// To decide, by these facts. Without them nothing is allowed.
    ToDecide(Keys),
    /// To say what would have been decided, by these facts. Whether they are found must not change what is done.
    ToObserve(Keys),
}

/// Some of the rules that a call meets.
struct MatchedRules<'p> {
    /// The first that is known to apply.
    rule: Option<&'p Rule>,
    /// Where there is none: the facts that the others depend on.
    unknown: Keys,
}

/// A search for the rules that a call meets.
struct Search<'p, 'c> {
    policy: &'p Policy,
    call: &'c Call<'c>,
    cells: Cells<'p>,
}

impl Policy {
    /// What is said to the call. A caller, project or action that is not configured is denied, whatever the
    /// rules say.
    pub fn decide(&self, call: &Call<'_>) -> Outcome<'_> {
        let nothing =
            Decision { effect: Effect::Deny, rule: None, mode: self.mode, observed: Observed::Nothing };
        let Some(cells) = self.index.of(call.caller, call.action, call.project) else {
            return Outcome::Decided(nothing);
        };
        let search = Search { policy: self, call, cells };
        let denial = search.first(Mode::Enforce, Effect::Deny);
        if let Some(rule) = denial.rule {
            // No other can allow.
            let observed = if self.observes { search.first(Mode::Observe, Effect::Deny).rule } else { None };
            let observed = observed.map_or(Observed::Nothing, Observed::Rule);
            return Outcome::Decided(Decision { rule: Some(rule), observed, ..nothing });
        }
        let permission = search.first(Mode::Enforce, Effect::Allow);
        let needs = permission.needs(denial.unknown);
        if !needs.is_empty() {
            return Outcome::Undetermined(Undetermined { needs, mode: self.mode });
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
                    // The index asks before it has compared the job.
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

    /// What rules under observation would have said where no rule in force is known to deny: some may, by these facts.
    fn observed(&self, denials: Keys, effect: Effect) -> Observed<'p> {
        let denial = self.first(Mode::Observe, Effect::Deny);
        if let Some(rule) = denial.rule {
            return Observed::Rule(rule);
        }
        let permission = self.first(Mode::Observe, Effect::Allow);
        let needs = match effect {
            // It is allowed anyway, unless one of those denies it.
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
    /// The facts that decide whether these permissions allow, where denials depend on some.
    fn needs(&self, denials: Keys) -> Keys {
        match self.rule {
            Some(_) => denials,
            // Denied, whatever the denials say.
            None if self.unknown.is_empty() => Keys::NONE,
            None => denials.and(self.unknown),
        }
    }
}

impl<'p> Outcome<'p> {
    /// The decision, where there is one.
    pub fn decision(&self) -> Option<&Decision<'p>> {
        match self {
            Self::Decided(decision) => Some(decision),
            Self::Undetermined(_) => None,
        }
    }

    /// What is done, as far as that is decided. A policy that is only observed refuses nothing.
    pub fn applied(&self) -> Option<Effect> {
        match self {
            Self::Decided(decision) => Some(decision.applied()),
            Self::Undetermined(Undetermined { mode: Mode::Observe, .. }) => Some(Effect::Allow),
            Self::Undetermined(Undetermined { mode: Mode::Enforce, .. }) => None,
        }
    }

    /// What to look the job up for.
    pub fn needed_facts(&self) -> NeededFacts {
        match self {
            Self::Undetermined(Undetermined { needs, mode: Mode::Enforce }) => NeededFacts::ToDecide(*needs),
            Self::Undetermined(Undetermined { needs, mode: Mode::Observe }) => NeededFacts::ToObserve(*needs),
            Self::Decided(Decision { observed: Observed::Unknown(needs), .. }) => {
                NeededFacts::ToObserve(*needs)
            }
            Self::Decided(Decision { observed: Observed::Nothing | Observed::Rule(_), .. }) => {
                NeededFacts::Nothing
            }
        }
    }
}

impl Decision<'_> {
    /// What is done: the effect, unless the policy is only observed, which refuses nothing.
    pub fn applied(&self) -> Effect {
        match self.mode {
            Mode::Enforce => self.effect,
            Mode::Observe => Effect::Allow,
        }
    }
}

impl<'p> Observed<'p> {
    /// The rule, where it is one.
    pub fn rule(self) -> Option<&'p Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }
}
