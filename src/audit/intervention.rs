//! Audit lines for operator actions. One line each time, among the records of calls.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    line::{Line, name},
    record::within,
};

/// What an operator asked for, and what came of it.
#[derive(Debug)]
pub struct Intervention<'i> {
    /// The id of the answer.
    pub request_id: &'i str,
    /// When it was asked for.
    pub time: DateTime<Utc>,
    /// `freeze`, `unfreeze`, `reload`, `stop` or `try_credentials`.
    pub action: &'static str,
    /// The user who asked.
    pub uid: Option<u32>,
    /// Why, in that user's words.
    pub reason: Option<&'i str>,
    /// The callers that it is about, by name; empty where it is about everybody.
    pub callers: &'i [&'i str],
    /// The project that it is about, by name.
    pub project: Option<&'i str>,
    /// The policy that is in force now.
    pub policy_hash: &'i str,
    /// Why nothing came of it, or not all.
    pub problem: Option<&'i str>,
}

impl Intervention<'_> {
    /// The line, with its line end.
    pub fn line(&self) -> Vec<u8> {
        let mut line = Line::new();
        line.word(name!("event"), Some("operator"));
        line.moment(name!("timestamp"), self.time);
        line.word(name!("request.id"), Some(self.request_id));
        line.text(name!("network.peer.address"), self.uid.map(|uid| format!("uid:{uid}")).as_ref());
        line.word(name!("operator.action"), Some(self.action));
        line.text(name!("operator.reason"), self.reason.map(|text| within(text, MAX_TEXT)).as_ref());
        line.text_if_any(name!("operator.project"), self.project.map(|text| within(text, MAX_TEXT)).as_ref());
        line.word(name!("policy.hash"), Some(self.policy_hash));
        line.text_if_any(name!("error.message"), self.problem.map(|text| within(text, MAX_TEXT)).as_ref());
        let mut callers: Vec<String> =
            self.callers.iter().take(MAX_CALLERS).map(|&name| name.into()).collect();
        if let Some(more) = self.callers.len().checked_sub(MAX_CALLERS).filter(|more| *more > 0) {
            callers.push(format!("and {more} more"));
        }
        let callers = (!callers.is_empty()).then(|| json!(callers));
        line.document_if_any(name!("operator.callers"), callers.as_ref());
        line.finish()
    }
}

/// In bytes: what leaves room for the callers.
const MAX_TEXT: usize = 512;
/// As many callers are named.
const MAX_CALLERS: usize = 32;
