//! Rules, as they are written.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{Condition, Glob};

/// One rule: what it says about the calls that match all four of its lists while its condition holds. An empty
/// list matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in decisions, audit records and metrics.
    pub id: String,
    /// What it says.
    pub effect: Effect,
    /// Patterns over the names of callers.
    pub callers: Vec<Glob>,
    /// Patterns over IAM actions, such as `mpc:editingTask:*`.
    pub actions: Vec<Glob>,
    /// Patterns over the names and the ids of projects.
    pub projects: Vec<Glob>,
    /// Patterns over job ids.
    pub jobs: Vec<Glob>,
    /// What must be true besides.
    pub condition: Condition,
    /// The moment from which on it matches nothing.
    pub expires: Option<DateTime<Utc>>,
    /// Whether what it says is applied.
    pub mode: Mode,
    /// Where it is written.
    pub location: Location,
    /// Why it is there, in the words of who wrote it.
    pub reason: Option<String>,
}

/// What a rule says, and what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call may be made.
    Allow,
    /// The call is refused.
    Deny,
}

/// What it is called where no rule decides. No rule has this id.
pub const NO_RULE: &str = "_default";

/// Whether what is said is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is only logged and counted: what would have been.
    Observe,
}

/// A line of a file. Displays as `policy.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

impl Rule {
    /// Whether it has expired by then.
    pub fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|end| at >= end)
    }

    /// Whether one of its patterns matches the job. A call without a job is matched by `*` alone.
    pub(super) fn matches_job(&self, job: Option<&str>) -> bool {
        self.jobs.iter().any(|glob| job.map_or(glob.is_any(), |job| glob.is_match(job)))
    }

    /// Whether it matches whenever its lists do.
    pub(super) fn always_applies(&self) -> bool {
        self.expires.is_none() && self.condition.tests().is_empty()
    }
}

impl Effect {
    /// As in policies and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// What it is called where it is only observed, in audit records and metrics.
    pub fn observed(self) -> &'static str {
        match self {
            Self::Allow => "would_allow",
            Self::Deny => "would_deny",
        }
    }
}

impl Mode {
    /// As in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
