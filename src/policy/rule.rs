//! Rules as written.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{Condition, Glob};

/// A rule. It applies to the calls that match all four of its lists while its condition holds. An empty list matches
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in decisions, audit records and metrics.
    pub id: String,
    /// Its effect.
    pub effect: Effect,
    /// Patterns for the names of callers.
    pub callers: Vec<Glob>,
    /// Patterns for IAM actions, such as `mpc:editingTask:*`.
    pub actions: Vec<Glob>,
    /// Patterns for the names and ids of projects.
    pub projects: Vec<Glob>,
    /// Patterns for job ids.
    pub jobs: Vec<Glob>,
    /// The condition that must also hold.
    pub condition: Condition,
    /// The time from which on it matches nothing.
    pub expires: Option<DateTime<Utc>>,
    /// Whether its effect is applied.
    pub mode: Mode,
    /// Its location in the file.
    pub location: Location,
    /// The author's reason for it.
    pub reason: Option<String>,
}

/// The effect of a rule or decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call may be made.
    Allow,
    /// The call is refused.
    Deny,
}

/// The id that stands for no rule. No rule can have it.
pub const NO_RULE: &str = "_default";

/// Whether an effect is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is applied.
    #[default]
    Enforce,
    /// It is only recorded and counted as what would have been decided.
    Observe,
}

/// A line in a file. Displays as `policy.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

impl Rule {
    /// Whether it has expired at this time.
    pub fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|end| at >= end)
    }

    /// Whether one of its patterns matches the job. Only `*` matches a call without a job.
    pub(super) fn matches_job(&self, job: Option<&str>) -> bool {
        self.jobs.iter().any(|glob| job.map_or(glob.is_any(), |job| glob.is_match(job)))
    }

    /// Whether it applies whenever its lists match.
    pub(super) fn always_applies(&self) -> bool {
        self.expires.is_none() && self.condition.tests().is_empty()
    }
}

impl Effect {
    /// Returns its name in policies and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// Returns its name in audit records and metrics if it is only observed.
    pub fn observed(self) -> &'static str {
        match self {
            Self::Allow => "would_allow",
            Self::Deny => "would_deny",
        }
    }
}

impl Mode {
    /// Returns its name in policies.
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
