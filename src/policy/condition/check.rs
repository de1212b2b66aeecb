//! Evaluates conditions and their tests.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::{Call, Fact, network::Network, wildcard};
use super::key::{Found, Key, Keys};
use super::operator::{Operator, Order, Quantifier, Spelling};
use super::template::Template;

/// The condition of a rule, all of whose tests must hold. Without tests it always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    tests: Arc<[Test]>,
    /// The facts of the job that it uses.
    facts: Keys,
}

/// Whether something holds, as far as the facts are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Truth {
    /// It holds, whatever the unknown facts are.
    Yes,
    /// It does not hold, whatever the unknown facts are.
    No,
    /// It depends on these facts.
    Unknown(Keys),
}

/// One operator with a key and the values to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub(super) operator: Operator,
    pub(super) key: Key,
    pub(super) values: Vec<Box<str>>,
    pub(super) check: Check,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Text(Spelling),
    /// Texts, at least one of which has a variable.
    Template(Box<[Template]>),
    Time(Order, Vec<DateTime<Utc>>),
    Address(Vec<Network>),
    /// Whether the key is to be absent.
    Absence(Vec<bool>),
}

impl Condition {
    /// Creates the condition that all of these tests hold.
    pub fn new(tests: Vec<Test>) -> Self {
        let facts = tests.iter().map(Test::key).filter(|key| key.is_fact()).collect();
        Self { tests: tests.into(), facts }
    }

    /// Returns its tests in their given order.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Returns the facts of the job that it uses.
    pub fn facts(&self) -> Keys {
        self.facts
    }

    /// Evaluates it for a call on the project with this id.
    pub(in crate::policy) fn holds(&self, call: &Call<'_>, project_id: &str) -> Truth {
        if self.facts.is_empty() {
            return self.tests.iter().all(|test| test.holds(call, project_id)).into();
        }
        let mut unknown = Keys::NONE;
        for test in &*self.tests {
            match test.truth(call, project_id) {
                Truth::Yes => {}
                Truth::No => return Truth::No,
                Truth::Unknown(keys) => unknown = unknown.and(keys),
            }
        }
        if unknown.is_empty() { Truth::Yes } else { Truth::Unknown(unknown) }
    }

    /// Returns the first test that certainly does not hold.
    pub(in crate::policy) fn first_failing(&self, call: &Call<'_>, project_id: &str) -> Option<&Test> {
        self.tests.iter().find(|test| test.truth(call, project_id) == Truth::No)
    }

    /// Whether it can never hold again for any call.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.tests.iter().any(|test| test.is_over(now))
    }

    /// Returns when it will never hold again, if its dates say so.
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        self.tests.iter().filter_map(Test::ends).min()
    }
}

impl Test {
    /// Returns the operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Returns the key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Returns the values as written.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Whether the value at this index matches this text. `None` if the operator compares no text, or the value has
    /// variables.
    pub fn value_matches(&self, number: usize, text: &str) -> Option<bool> {
        let Check::Text(spelling) = self.check else { return None };
        self.values.get(number).map(|value| matches_text(spelling, value, text))
    }

    fn truth(&self, call: &Call<'_>, project_id: &str) -> Truth {
        match self.key.found(call.facts) {
            Some(found) => match self.fact_holds(found, call, project_id) {
                Some(holds) => holds.into(),
                None => Truth::Unknown(self.key.into()),
            },
            None => self.holds(call, project_id).into(),
        }
    }

    /// Evaluates the test for a fact of the job. `None` if the fact is unknown.
    fn fact_holds(&self, found: Found<'_>, call: &Call<'_>, project_id: &str) -> Option<bool> {
        if let Check::Absence(wanted) = &self.check {
            return found.is_present().map(|present| wanted.contains(&!present));
        }
        let Operator { negated, if_exists, over, .. } = self.operator;
        let holds = |text: &str| self.matches(text, call, project_id) != negated;
        Some(match found {
            Found::One(Fact::Known(text)) => holds(text),
            // An absent fact matches no value.
            Found::One(Fact::Absent) => negated || if_exists,
            Found::Several(Fact::Known(mut texts)) => match over? {
                Quantifier::All => texts.all(holds),
                Quantifier::Any => texts.any(holds),
            },
            Found::Several(Fact::Absent) => if_exists,
            Found::One(Fact::Unknown(_)) | Found::Several(Fact::Unknown(_)) => return None,
        })
    }

    /// Evaluates the test for a key that is not a fact of the job.
    fn holds(&self, call: &Call<'_>, project_id: &str) -> bool {
        match self.matched(call, project_id) {
            Some(matched) => matched != self.operator.negated,
            // An absent key matches no value.
            None => self.operator.negated || self.operator.if_exists,
        }
    }

    /// Whether one of the values matches. `None` if the call has no such key.
    fn matched(&self, call: &Call<'_>, project_id: &str) -> Option<bool> {
        match &self.check {
            Check::Text(spelling) => {
                let text = self.key.text(call, project_id)?;
                Some(self.values.iter().any(|value| matches_text(*spelling, value, text)))
            }
            Check::Template(..) => Some(self.matches(self.key.text(call, project_id)?, call, project_id)),
            Check::Time(order, moments) => Some(moments.iter().any(|moment| order.holds(call.at, *moment))),
            Check::Address(networks) => {
                let address = call.source_ip?;
                Some(networks.iter().any(|network| network.contains(address)))
            }
            Check::Absence(wanted) => Some(wanted.contains(&!self.key.is_present(call))),
        }
    }

    /// Whether one of the values is this text.
    fn matches(&self, text: &str, call: &Call<'_>, project_id: &str) -> bool {
        match &self.check {
            Check::Text(spelling) => self.values.iter().any(|value| matches_text(*spelling, value, text)),
            Check::Template(values) => values.iter().any(|value| value.matches_text(text, call, project_id)),
            Check::Time(..) | Check::Address(_) | Check::Absence(_) => false,
        }
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        let Check::Time(order @ (Order::Before | Order::NotAfter), moments) = &self.check else {
            return false;
        };
        !moments.iter().any(|moment| order.holds(now, *moment))
    }

    fn ends(&self) -> Option<DateTime<Utc>> {
        let Check::Time(Order::Before | Order::NotAfter, moments) = &self.check else { return None };
        moments.iter().max().copied()
    }
}

fn matches_text(spelling: Spelling, value: &str, text: &str) -> bool {
    match spelling {
        Spelling::Exact => value == text,
        Spelling::AnyCase | Spelling::Switch => value.eq_ignore_ascii_case(text),
        Spelling::Wildcard => wildcard::matches(value, text),
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}
