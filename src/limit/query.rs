//! What limits are asked about a call, and what they answer where one is reached.

use std::time::Duration;

use crate::{identity::CallerId, reason::Reason};

/// A call as limits see it.
#[derive(Clone, Copy, Debug)]
pub struct LimitQuery<'a> {
    /// Whose.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its id.
    pub project_id: &'a str,
    /// What it takes upstream.
    pub calls: CallCount,
}

/// What a call of a caller takes upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallCount {
    /// One that changes something.
    Write,
    /// One that looks.
    View,
    /// One that looks, and then perhaps one that looks again.
    LookupAndView,
    /// One that looks, and then perhaps one that changes something.
    LookupAndWrite,
    /// One that changes something; and, where much is left, before it one that looks.
    TrialAndWrite,
    /// Where much is left, one that looks, for a call that is denied anyway.
    Trial,
}

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
