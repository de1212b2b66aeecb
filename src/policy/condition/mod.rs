//! Does a rule's condition hold for this call? The conditions of Huawei's IAM 5.0, with its meaning.
//!
//! It stands below `policy`, which asks it only for rules whose four lists match. Of the values of a key one is
//! enough; keys and operators must all hold. It reads no clock and looks up no name: what it compares with was
//! parsed once, what it compares is on the [`Call`], and comparing allocates nothing.

mod key;
mod operator;

pub use key::Key;
pub use operator::Operator;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::moment::{MomentError, parse_moment};
use super::network::{Network, NetworkError};
use super::{Call, wildcard};
use operator::{Compare, Order, Spelling};

/// Everything that must hold besides the lists of a rule. Without tests it always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition(Arc<[Test]>);

/// One operator with one key and the key's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    operator: Operator,
    key: Key,
    values: Vec<Box<str>>,
    check: Check,
}

/// The values, parsed. It fits the key: [`Test::new`] sees to that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    Text(Spelling),
    Time(Order, Vec<DateTime<Utc>>),
    Address(Vec<Network>),
    /// Whether the key is to be absent.
    Absence(Vec<bool>),
}

/// Why an operator, a key and values are no test.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// The operator compares another kind of key.
    #[error("`{operator}` compares {compares}, and `{}` is {}", key.as_str(), key.kind().as_str())]
    Mismatch {
        /// The operator.
        operator: Operator,
        /// What it compares.
        compares: &'static str,
        /// The key.
        key: Key,
    },
    /// There is no value to compare with.
    #[error("without a value there is nothing to compare with")]
    NoValue,
    /// The value with this number, counted from 0, is not one that the operator takes.
    #[error("{1}")]
    Value(usize, #[source] ValueError),
}

/// Why a text is not a value of an operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Of a `Date…` operator.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// Of an `…IpAddress` operator.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Of `Bool` or `Null`.
    #[error("this operator takes true or false")]
    Switch,
}

impl Condition {
    /// The condition that all of these hold.
    pub fn new(tests: Vec<Test>) -> Self {
        Self(tests.into())
    }

    /// Its tests, in the order in which they were given.
    pub fn tests(&self) -> &[Test] {
        &self.0
    }

    /// Whether it holds for a call on the project with this id.
    pub fn holds(&self, call: &Call<'_>, project_id: &str) -> bool {
        self.first_failing(call, project_id).is_none()
    }

    /// The first test that does not hold.
    pub fn first_failing(&self, call: &Call<'_>, project_id: &str) -> Option<&Test> {
        self.0.iter().find(|test| !test.holds(call, project_id))
    }

    /// Whether it can never hold again, whatever is called.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.0.iter().any(|test| test.is_over(now))
    }

    /// When that will be, where its dates say so.
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        self.0.iter().filter_map(Test::ends).min()
    }
}

impl Test {
    /// A test, where the operator fits the key and the values fit the operator.
    ///
    /// # Errors
    /// See [`TestError`].
    pub fn new(operator: Operator, key: Key, values: &[&str]) -> Result<Self, TestError> {
        if let Some(kind) = operator.compare.kind().filter(|kind| *kind != key.kind()) {
            return Err(TestError::Mismatch { operator, compares: kind.as_str(), key });
        }
        if values.is_empty() {
            return Err(TestError::NoValue);
        }
        let check = match operator.compare {
            Compare::Text(spelling @ Spelling::Switch) => each(values, switch).map(|_| Check::Text(spelling)),
            Compare::Text(spelling) => Ok(Check::Text(spelling)),
            Compare::Time(order) => {
                each(values, |value| Ok(parse_moment(value)?)).map(|all| Check::Time(order, all))
            }
            Compare::Address => each(values, |value| Ok(Network::parse(value)?)).map(Check::Address),
            Compare::Absence => each(values, switch).map(Check::Absence),
        }?;
        Ok(Self { operator, key, values: values.iter().map(|value| Box::from(*value)).collect(), check })
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The values as they are written.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Whether the value with this number, counted from 0, matches this text. `None` where no text is compared.
    pub fn value_matches(&self, number: usize, text: &str) -> Option<bool> {
        match self.check {
            Check::Text(spelling) => self.values.get(number).map(|value| spells(spelling, value, text)),
            Check::Time(..) | Check::Address(_) | Check::Absence(_) => None,
        }
    }

    fn holds(&self, call: &Call<'_>, project_id: &str) -> bool {
        match self.matched(call, project_id) {
            Some(matched) => matched != self.operator.negated,
            // Where the call has no such key, no value matches it.
            None => self.operator.negated || self.operator.if_exists,
        }
    }

    /// Whether one of the values matches. `None` where the call has no such key.
    fn matched(&self, call: &Call<'_>, project_id: &str) -> Option<bool> {
        match &self.check {
            Check::Text(spelling) => {
                let text = self.key.text(call, project_id)?;
                Some(self.values.iter().any(|value| spells(*spelling, value, text)))
            }
            Check::Time(order, moments) => Some(moments.iter().any(|moment| order.holds(call.at, *moment))),
            Check::Address(networks) => {
                let address = call.source_ip?;
                Some(networks.iter().any(|network| network.contains(address)))
            }
            Check::Absence(wanted) => Some(wanted.contains(&!self.key.is_present(call))),
        }
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        match &self.check {
            Check::Time(order @ (Order::Before | Order::NotAfter), moments) => {
                !moments.iter().any(|moment| order.holds(now, *moment))
            }
            Check::Time(Order::After | Order::NotBefore, _)
            | Check::Text(_)
            | Check::Address(_)
            | Check::Absence(_) => false,
        }
    }

    fn ends(&self) -> Option<DateTime<Utc>> {
        match &self.check {
            Check::Time(Order::Before | Order::NotAfter, moments) => moments.iter().max().copied(),
            Check::Time(Order::After | Order::NotBefore, _)
            | Check::Text(_)
            | Check::Address(_)
            | Check::Absence(_) => None,
        }
    }
}

fn spells(spelling: Spelling, value: &str, text: &str) -> bool {
    match spelling {
        Spelling::Exact => value == text,
        Spelling::AnyCase | Spelling::Switch => value.eq_ignore_ascii_case(text),
        Spelling::Wildcard => wildcard::matches(value, text),
    }
}

fn each<T>(values: &[&str], parse: impl Fn(&str) -> Result<T, ValueError>) -> Result<Vec<T>, TestError> {
    let parse = |(number, value): (usize, &&str)| parse(value).map_err(|e| TestError::Value(number, e));
    values.iter().enumerate().map(parse).collect()
}

fn switch(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_| ValueError::Switch)
}

#[cfg(test)]
mod tests;
