//! May this caller do this? Deny by default; an explicit deny wins; no omitted field means any.
//!
//! It stands after identity, which proves the caller, and before everything that acts. It is pure: a policy is
//! compiled once from rules and names, and a decision is a few look-ups, without allocation or lock.

mod explain;
mod findings;
mod glob;
mod index;

pub use explain::{Explanation, Field, NearestMiss};
pub use findings::{Finding, Problem};
pub use glob::{Glob, GlobError};

use std::fmt;
use std::sync::Arc;

use crate::identity::CallerId;
use index::Index;

/// One rule: what it says about the calls that match all four of its lists. An empty list matches nothing.
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

/// A line of a file. Displays as `policy.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// A configured project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its id at Huawei Cloud.
    pub id: Arc<str>,
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its configured name.
    pub project: &'a str,
    /// The job id.
    pub job: &'a str,
}

/// The answer to a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Whether the call may be made.
    pub effect: Effect,
    /// The rule that decided, the first in the file where several say the same. `None`: denied, as nothing allows it.
    pub rule: Option<&'p Rule>,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    index: Index,
    hash: Arc<str>,
}

impl Policy {
    /// Compiles rules, in the order of the file, for the callers and projects there are. `hash` names the version.
    pub fn new(rules: Vec<Rule>, callers: &[CallerId], projects: &[Scope], hash: &str) -> Self {
        let index = Index::new(&rules, callers, projects);
        Self { rules, index, hash: hash.into() }
    }

    /// Whether the call may be made. A caller, project or action that is not configured is denied, whatever the rules say.
    pub fn decide(&self, call: &Call<'_>) -> Decision<'_> {
        let found = self.index.find(call);
        Decision {
            effect: found.map_or(Effect::Deny, |(effect, _)| effect),
            rule: found.and_then(|(_, rule)| self.rules.get(rule)),
        }
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which version of the policy this is.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
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
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
