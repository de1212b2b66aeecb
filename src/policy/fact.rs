//! Facts of jobs: known, absent or unknown.

/// A fact of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// The job has this value.
    Known(T),
    /// The job certainly has none.
    Absent,
    /// It is not known, for this reason.
    Unknown(UnknownReason),
}

/// Why a fact is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// The job was not looked up.
    NotLookedUp,
    /// This version's answer does not have it.
    NotInAnswer,
    /// The answer has an unknown word for it.
    UnknownWord,
}

impl UnknownReason {
    /// Returns its name in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLookedUp => "not_looked_up",
            Self::NotInAnswer => "fact_not_in_answer",
            Self::UnknownWord => "unknown_word",
        }
    }
}

impl<T> Fact<T> {
    /// Converts `&Fact<T>` into `Fact<&T>`.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known(value) => Fact::Known(value),
            Self::Absent => Fact::Absent,
            Self::Unknown(why) => Fact::Unknown(*why),
        }
    }

    /// Maps the value of a known fact.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(to(value)),
            Self::Absent => Fact::Absent,
            Self::Unknown(why) => Fact::Unknown(why),
        }
    }
}

/// `None` is an absent fact.
impl<T> From<Option<T>> for Fact<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }
}
