//! CCE's pod identity agent, which identifies a pod by its token.
//!
//! The real agent's paths and errors are not documented: the test chooses the path, and errors are plain text.

use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Pod, Seen,
    answer::Answer,
    keys::Keys,
    secrets::{Issuing, same, short_timestamp},
};

impl Pod {
    /// Answers a request to its path. `None` for other requests.
    pub(super) fn answer(&self, request: &Seen, keys: &mut Keys, issuing: Issuing) -> Option<Answer> {
        if request.method != "POST" {
            return None;
        }
        if !same(&self.token, request.header("authorization").unwrap_or_default()) {
            return Some(Answer::text(StatusCode::UNAUTHORIZED, "Authorization is not the pod's token"));
        }
        let body: Option<Map<String, Value>> = serde_json::from_slice(&request.body).ok();
        if !body.is_some_and(|body| body.is_empty()) {
            return Some(Answer::text(StatusCode::BAD_REQUEST, "the body must be {}"));
        }
        let key = keys.issue(&self.project_id, issuing.term(LIFETIME));
        let body = json!({ "credentials": {
            "accessKeyId": key.access,
            "secretAccessKey": key.secret.expose(),
            "securityToken": key.security_token.expose(),
            "expiration": short_timestamp(key.expires_at),
        } });
        Some(Answer::json(StatusCode::OK, &body))
    }
}

const LIFETIME: TimeDelta = TimeDelta::hours(6);
