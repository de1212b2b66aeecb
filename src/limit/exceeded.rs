//! What there is to say where a limit was reached.

use std::time::Duration;

use crate::reason::Reason;

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The caller's own.
    Caller,
    /// The project's, which all callers share.
    Project,
    /// What one caller may be denied by what was looked up for it.
    DeniedLookups,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .scope.reason())]
pub struct Exceeded {
    /// Whose.
    pub scope: Scope,
    /// When there is room again, if nobody else takes it.
    pub retry_after: Duration,
}

impl Scope {
    /// The cause of what is refused for it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Caller => Reason::CallerLimit,
            Self::Project => Reason::ProjectLimit,
            Self::DeniedLookups => Reason::DeniedLookups,
        }
    }
}
