//! What is on the page, before it is HTML.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::form::Form;
use crate::server::Check;

/// Everything that is on the page.
pub(super) struct StatusPage<'p> {
    /// What `/status` says.
    pub(super) status: &'p Value,
    pub(super) checks: Vec<Check>,
    pub(super) now: DateTime<Utc>,
    /// For who asks from this machine only.
    pub(super) near: Option<Near>,
}

/// What is told to this machine only, besides what the document has.
pub(super) struct Near {
    pub(super) callers: Vec<String>,
    pub(super) projects: Vec<String>,
    pub(super) asked: Form,
    /// Of what was asked: the decision, or what is wrong with the question.
    pub(super) answer: Option<Result<String, String>>,
}
