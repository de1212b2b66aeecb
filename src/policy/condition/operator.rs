//! Condition operators: those of Huawei's IAM 5.0 that fit a key here.
//!
//! A name may have the prefix `ForAllValues:` or `ForAnyValue:` and the suffix `IfExists`.

use std::fmt;

use chrono::{DateTime, Utc};

use super::key::{Key, Kind};

/// A condition operator. Displays as written in policies, with prefix and suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    name: &'static str,
    pub(super) compare: Compare,
    /// Whether it holds if no value matches.
    pub(super) negated: bool,
    /// Whether it also holds if the call has no such key.
    pub(super) if_exists: bool,
    /// Which of a key's several values must match.
    pub(super) over: Option<Quantifier>,
}

/// Which of several values must match. Neither holds without values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Text(Spelling),
    Time(Order),
    Address,
    Absence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Exact,
    AnyCase,
    Wildcard,
    /// `true` or `false`, case-insensitive.
    Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Before,
    NotAfter,
    After,
    NotBefore,
}

impl Operator {
    /// Parses the name of an operator.
    pub fn parse(text: &str) -> Option<Self> {
        let [over, name, if_exists] = Self::parts(text);
        let over = [Quantifier::All, Quantifier::Any].into_iter().find(|known| known.as_str() == over);
        let (name, compare, negated) = OPERATORS.iter().copied().find(|(known, ..)| *known == name)?;
        let if_exists = !if_exists.is_empty();
        // `Null` itself asks whether the key is present, so neither makes sense.
        let pointless = (if_exists || over.is_some()) && compare == Compare::Absence;
        (!pointless).then_some(Self { name, compare, negated, if_exists, over })
    }

    /// Splits a text into prefix, name and suffix.
    pub fn parts(text: &str) -> [&str; 3] {
        let over = [Quantifier::All, Quantifier::Any]
            .map(Quantifier::as_str)
            .into_iter()
            .find(|over| text.starts_with(over));
        let (over, text) = text.split_at(over.map_or(0, str::len));
        let name = text.strip_suffix(IF_EXISTS).unwrap_or(text);
        let (name, if_exists) = text.split_at(name.len());
        [over, name, if_exists]
    }

    /// Returns all names without prefixes and suffixes.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        OPERATORS.iter().map(|(name, ..)| *name)
    }

    /// Whether it can compare this key.
    pub fn applies_to(self, key: Key) -> bool {
        self.compare.kind().is_none_or(|kind| kind == key.kind())
    }

    /// Whether `*` and `?` are wildcards in its values.
    pub fn takes_wildcards(self) -> bool {
        self.compare == Compare::Text(Spelling::Wildcard)
    }

    /// Whether its values are `true` and `false`.
    pub fn takes_switches(self) -> bool {
        matches!(self.compare, Compare::Absence | Compare::Text(Spelling::Switch))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.over.map_or("", Quantifier::as_str))?;
        f.write_str(self.name)?;
        f.write_str(if self.if_exists { IF_EXISTS } else { "" })
    }
}

impl Quantifier {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "ForAllValues:",
            Self::Any => "ForAnyValue:",
        }
    }
}

impl Compare {
    /// The kind of key that it compares. `None` for every kind.
    pub(super) fn kind(self) -> Option<Kind> {
        match self {
            Self::Text(_) => Some(Kind::Text),
            Self::Time(_) => Some(Kind::Time),
            Self::Address => Some(Kind::Address),
            Self::Absence => None,
        }
    }
}

impl Order {
    pub(super) fn holds(self, now: DateTime<Utc>, moment: DateTime<Utc>) -> bool {
        match self {
            Self::Before => now < moment,
            Self::NotAfter => now <= moment,
            Self::After => now > moment,
            Self::NotBefore => now >= moment,
        }
    }
}

const IF_EXISTS: &str = "IfExists";
/// The operators in the order of IAM's documentation, and whether each is negated.
const OPERATORS: &[(&str, Compare, bool)] = &[
    ("StringEquals", Compare::Text(Spelling::Exact), false),
    ("StringNotEquals", Compare::Text(Spelling::Exact), true),
    ("StringEqualsIgnoreCase", Compare::Text(Spelling::AnyCase), false),
    ("StringNotEqualsIgnoreCase", Compare::Text(Spelling::AnyCase), true),
    ("StringMatch", Compare::Text(Spelling::Wildcard), false),
    ("StringNotMatch", Compare::Text(Spelling::Wildcard), true),
    ("DateLessThan", Compare::Time(Order::Before), false),
    ("DateLessThanEquals", Compare::Time(Order::NotAfter), false),
    ("DateGreaterThan", Compare::Time(Order::After), false),
    ("DateGreaterThanEquals", Compare::Time(Order::NotBefore), false),
    ("Bool", Compare::Text(Spelling::Switch), false),
    ("Null", Compare::Absence, false),
    ("IpAddress", Compare::Address, false),
    ("NotIpAddress", Compare::Address, true),
];
