//! Validates tests: rejects operators, keys and values that can only be a mistake.

use super::super::moment::{MomentError, parse_moment};
use super::super::network::{Network, NetworkError};
use super::super::{Fact, JobStatus};
use super::check::{Check, Test};
use super::key::Key;
use super::operator::{Compare, Operator, Spelling};
use super::template::{Template, VariableError};

/// Why an operator, a key and values are not a valid test.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// The operator compares another kind of key.
    #[error("`{}` compares {}, and `{}` is {}", .0, .1, .2.as_str(), .2.kind().as_str())]
    Mismatch(Operator, &'static str, Key),
    /// The key may have several values, but the operator does not say which must match.
    #[error("`{}` may have several values: `{}` does not say how many must match", .1.as_str(), .0)]
    Several(Operator, Key),
    /// The key has one value, but the operator is for several.
    #[error("`{}` is for several values, but `{}` has at most one", .0, .1.as_str())]
    One(Operator, Key),
    /// There is no value to compare with.
    #[error("a value is required")]
    NoValue,
    /// The value at this index is invalid.
    #[error("{1}")]
    Value(usize, #[source] ValueError),
}

/// Why a value is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is not a date, for a `Date…` operator.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// It is not a network, for an `…IpAddress` operator.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// It is not `true` or `false`, for `Bool` or `Null`.
    #[error("this operator takes true or false")]
    Switch,
    /// It has an invalid variable.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// It is not a status, for `mpc:JobStatus`. Holds the likely one if another API version has this word.
    #[error("unknown job status")]
    Status(Option<JobStatus>),
    /// It begins with `/`, for an input or output.
    #[error("`{}` never begins with `/`", .0.as_str())]
    Slash(Key),
    /// It cannot be a bucket.
    #[error("a bucket name has no `/`")]
    Bucket(Key),
    /// It has no bucket, for an input or output.
    #[error("`{}` is BUCKET/OBJECT, and this has no `/`", .0.as_str())]
    NoBucket(Key),
}

impl Test {
    /// Creates a test if the operator fits the key, and the values fit both.
    ///
    /// # Errors
    /// See [`TestError`].
    pub fn new(operator: Operator, key: Key, values: &[&str]) -> Result<Self, TestError> {
        if let Some(kind) = operator.compare.kind().filter(|kind| *kind != key.kind()) {
            return Err(TestError::Mismatch(operator, kind.as_str(), key));
        }
        match (operator.over, key.has_several() && operator.compare != Compare::Absence) {
            (None, true) => return Err(TestError::Several(operator, key)),
            (Some(_), false) => return Err(TestError::One(operator, key)),
            (None, false) | (Some(_), true) => {}
        }
        if values.is_empty() {
            return Err(TestError::NoValue);
        }
        if matches!(operator.compare, Compare::Text(_)) {
            each(values, |value| fits(operator, key, value))?;
        }
        let check = match operator.compare {
            Compare::Text(spelling @ Spelling::Switch) => each(values, switch).map(|_| Check::Text(spelling)),
            Compare::Text(spelling) if values.iter().any(|value| Template::is_in(value)) => {
                each(values, |value| Ok(Template::parse(spelling, value)?))
                    .map(|all| Check::Template(all.into()))
            }
            Compare::Text(spelling) => Ok(Check::Text(spelling)),
            Compare::Time(order) => {
                each(values, |value| Ok(parse_moment(value)?)).map(|all| Check::Time(order, all))
            }
            Compare::Address => each(values, |value| Ok(Network::parse(value)?)).map(Check::Address),
            Compare::Absence => each(values, switch).map(Check::Absence),
        }?;
        Ok(Self { operator, key, values: values.iter().map(|value| Box::from(*value)).collect(), check })
    }
}

/// Checks that the key can have a value that this matches.
fn fits(operator: Operator, key: Key, value: &str) -> Result<(), ValueError> {
    let wild = operator.takes_wildcards() && value.contains(['*', '?']) || Template::is_in(value);
    match key {
        Key::JobStatus => status(operator, value),
        Key::Input | Key::Output | Key::InputObject | Key::OutputObject if value.starts_with('/') => {
            Err(ValueError::Slash(key))
        }
        Key::Input | Key::Output if !wild && !value.contains('/') => Err(ValueError::NoBucket(key)),
        Key::InputBucket if value.contains('/') => Err(ValueError::Bucket(Key::Input)),
        Key::OutputBucket if value.contains('/') => Err(ValueError::Bucket(Key::Output)),
        Key::Input
        | Key::Output
        | Key::InputObject
        | Key::OutputObject
        | Key::InputBucket
        | Key::OutputBucket
        | Key::CurrentTime
        | Key::SourceIp
        | Key::ProjectId
        | Key::JobId
        | Key::Caller
        | Key::Listener
        | Key::IdentifiedBy
        | Key::UserData
        | Key::EditType => Ok(()),
    }
}

/// Checks a status. Patterns are rejected, because they could match a future status.
fn status(operator: Operator, value: &str) -> Result<(), ValueError> {
    let any_case = operator.compare == Compare::Text(Spelling::AnyCase);
    let is_one = |status: JobStatus| match any_case {
        true => status.as_str().eq_ignore_ascii_case(value),
        false => status.as_str() == value,
    };
    if JobStatus::ALL.into_iter().any(is_one) {
        return Ok(());
    }
    Err(ValueError::Status(match JobStatus::of_answer(&value.to_ascii_uppercase()) {
        Fact::Known(status) => Some(status),
        Fact::Absent | Fact::Unknown(_) => None,
    }))
}

fn each<T>(values: &[&str], parse: impl Fn(&str) -> Result<T, ValueError>) -> Result<Vec<T>, TestError> {
    let parse = |(number, value): (usize, &&str)| parse(value).map_err(|e| TestError::Value(number, e));
    values.iter().enumerate().map(parse).collect()
}

fn switch(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_| ValueError::Switch)
}
