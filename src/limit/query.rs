//! The call that limits are applied to, and the error of an exceeded limit.

use std::time::Duration;

use crate::{identity::CallerId, reason::Reason};

/// The call that limits are applied to.
#[derive(Clone, Copy, Debug)]
pub struct LimitQuery<'a> {
    /// The caller.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project's id.
    pub project_id: &'a str,
    /// The upstream requests that it needs.
    pub calls: CallCount,
}

/// The upstream requests of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallCount {
    /// A write.
    Write,
    /// A read.
    View,
    /// A lookup, and possibly a read.
    LookupAndView,
    /// A lookup, and possibly a write.
    LookupAndWrite,
    /// A write, preceded by a lookup to observe if enough quota is left.
    TrialAndWrite,
    /// A lookup to observe for a denied call, if enough quota is left.
    Trial,
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The caller's limit of calls.
    Caller,
    /// The project's limit, shared by all callers.
    Project,
    /// The caller's limit of denials after a lookup.
    DeniedLookups,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .scope.reason())]
pub struct Exceeded {
    /// The limit that was reached.
    pub scope: Scope,
    /// The time until a call may pass, if no other one does before.
    pub retry_after: Duration,
}

impl Scope {
    /// Returns the reason of refusals by this limit.
    pub fn reason(self) -> Reason {
        match self {
            Self::Caller => Reason::CallerLimit,
            Self::Project => Reason::ProjectLimit,
            Self::DeniedLookups => Reason::DeniedLookups,
        }
    }
}
