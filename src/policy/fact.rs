//! One fact of a job: known, surely absent, or unknown.

/// A fact, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// The job has it, and this is it.
    Known(T),
    /// The job surely has none.
    Absent,
    /// Nobody can say yet, or at all.
    Unknown(UnknownReason),
}

/// Why a fact is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// The job was not looked up.
    NotLookedUp,
    /// This version's answer does not carry it.
    NotInAnswer,
    /// The answer has a word for it that is not known.
    UnknownWord,
}

impl UnknownReason {
    /// A stable word for it, as in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLookedUp => "not_looked_up",
            Self::NotInAnswer => "fact_not_in_answer",
            Self::UnknownWord => "unknown_word",
        }
    }
}

impl<T> Fact<T> {
    /// The same of what is behind a reference.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known(value) => Fact::Known(value),
            Self::Absent => Fact::Absent,
            Self::Unknown(why) => Fact::Unknown(*why),
        }
    }

    /// The same with another value where there is one.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(to(value)),
            Self::Absent => Fact::Absent,
            Self::Unknown(why) => Fact::Unknown(why),
        }
    }
}

/// What is not there is absent.
impl<T> From<Option<T>> for Fact<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }
}
