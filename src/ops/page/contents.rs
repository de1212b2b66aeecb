//! The contents of the page, before they are HTML.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::form::Form;
use crate::server::Check;

/// The contents of the page.
pub(super) struct StatusPage<'p> {
    /// The `/status` document.
    pub(super) status: &'p Value,
    pub(super) checks: Vec<Check>,
    pub(super) now: DateTime<Utc>,
    /// Present only for requests from this machine.
    pub(super) near: Option<Near>,
}

/// What only requests from this machine are shown, besides what the document has.
pub(super) struct Near {
    pub(super) callers: Vec<String>,
    pub(super) projects: Vec<String>,
    pub(super) asked: Form,
    /// The decision on `asked`, or what is wrong with the question.
    pub(super) answer: Option<Result<String, String>>,
}
