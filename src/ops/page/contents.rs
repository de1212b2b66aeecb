//! The contents of the page before they are HTML, how texts are shown on it, and its style and script.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use maud::Render;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::Form;
use crate::{escape::visible, server::Check};

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

/// A text shown on the page: escaped as HTML, with invisible characters made visible.
pub(super) struct Shown<'t>(pub(super) &'t str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        visible(self.0).render_to(buffer);
    }
}

/// The `Content-Security-Policy`: only the page's own style and script, named by their hashes, and no framing. The page
/// that the script fetches has the same.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [style, script] =
        [STYLE, SCRIPT].map(|text| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text))));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});
pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");
