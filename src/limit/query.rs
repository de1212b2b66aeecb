//! A call as limits see it.

use crate::identity::CallerId;

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
