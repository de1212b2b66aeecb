//! The audit lines of operators' actions, among the records of calls.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    line::{Line, name},
    record::within,
};

/// An operator's action and its result.
#[derive(Debug)]
pub struct Intervention<'i> {
    /// The id of the answer.
    pub request_id: &'i str,
    /// When it was requested.
    pub time: DateTime<Utc>,
    /// `freeze`, `unfreeze`, `reload`, `stop` or `try_credentials`.
    pub action: &'static str,
    /// The operator's user id.
    pub uid: Option<u32>,
    /// The operator's reason.
    pub reason: Option<&'i str>,
    /// The names of the callers that it concerns; empty for all.
    pub callers: &'i [&'i str],
    /// The name of the project that it concerns.
    pub project: Option<&'i str>,
    /// The policy in force.
    pub policy_hash: &'i str,
    /// Why it failed, or partly failed.
    pub problem: Option<&'i str>,
}

impl Intervention<'_> {
    /// Returns the line with its line end.
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

/// The maximum length of a text in bytes, which leaves room for the callers.
const MAX_TEXT: usize = 512;
/// The maximum number of callers that are named.
const MAX_CALLERS: usize = 32;
