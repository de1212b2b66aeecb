//! The call that limits are applied to, and the error of an exceeded limit.

use std::time::Duration;

use crate::{identity::CallerId, reason::Reason};

/// The call that limits are applied to.
#[derive(Clone, Copy, Debug)]
pub struct LimitQuery<'a> {
    /// The caller to look at.
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
    /// The holder of the limit.
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
