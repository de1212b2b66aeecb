//! Condition operators. The operators of Huawei's IAM 5.0 that have a key here.
//!
//! Before the name of an operator may stand over which of several values it is asked, and behind it `IfExists`.

use std::fmt;

use chrono::{DateTime, Utc};

use super::key::{Key, Kind};

/// How a key is compared. Displays as it is written: as in IAM, perhaps with `ForAllValues:` or `ForAnyValue:` before it
/// and `IfExists` at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    name: &'static str,
    pub(super) compare: Compare,
    /// It holds where no value matches.
    pub(super) negated: bool,
    /// It also holds where the call has no such key.
    pub(super) if_exists: bool,
    /// Over which of a key's values it is asked, where there may be several.
    pub(super) over: Option<Quantifier>,
}

/// Which of several values an operator must hold for. Over no values neither holds.
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
    /// `true` or `false`, in any case.
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
    /// The operator of that name.
    pub fn parse(text: &str) -> Option<Self> {
        let [over, name, if_exists] = Self::parts(text);
        let over = [Quantifier::All, Quantifier::Any].into_iter().find(|known| known.as_str() == over);
        let (name, compare, negated) = OPERATORS.iter().copied().find(|(known, ..)| *known == name)?;
        let if_exists = !if_exists.is_empty();
        // Whether the key is there, with one value or more, is just what `Null` asks.
        let pointless = (if_exists || over.is_some()) && compare == Compare::Absence;
        (!pointless).then_some(Self { name, compare, negated, if_exists, over })
    }

    /// What stands before a name, the name, and what stands behind it.
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

    /// The names there are, without what may stand before and behind them.
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
    /// The only kind of key it goes with. `None`: with every kind.
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
/// In the order of IAM's documentation; `true`: negated.
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
