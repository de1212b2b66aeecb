//! The metadata service of an ECS, version 2 or 1.
//!
//! Version 2 requires a session token, so that a forwarded request gets nothing. Errors are plain text. The real service
//! listens on a link-local address and has much more than this key.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::{
    Seen,
    answer::Answer,
    keys::{Issued, Keys},
    secrets::{Issuing, random, same},
};
use crate::secret::Secret;

/// How the metadata service behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataMode {
    /// Version 2, which requires session tokens: `"v2"`.
    #[default]
    V2,
    /// Version 1, which answers a request for a session token with this status, in JSON one of 404, 405 and 503:
    /// `{"v1":404}`.
    V1(#[serde(deserialize_with = "without_tokens")] StatusCode),
    /// Version 2 on a machine without an agency, and so without a key: `"no_agency"`.
    NoAgency,
}

/// The metadata service of one machine.
pub(super) struct Metadata {
    /// The id of the only project its keys are for.
    project_id: String,
    pub(super) mode: MetadataMode,
    /// How long before its end a key is replaced on request.
    pub(super) replaced_before_end: TimeDelta,
    sessions: Vec<(Secret, DateTime<Utc>)>,
    key: Option<Issued>,
}

impl Metadata {
    /// Creates the service of a machine with an agency for this project.
    pub(super) fn new(project_id: String) -> Self {
        let replaced_before_end = TimeDelta::hours(1);
        Self { project_id, mode: MetadataMode::V2, replaced_before_end, sessions: Vec::new(), key: None }
    }

    /// Answers a request. `None` if there is no such path.
    pub(super) fn answer(&mut self, request: &Seen, keys: &mut Keys, issuing: Issuing) -> Option<Answer> {
        match (&*request.method, &*request.target) {
            ("PUT", "/meta-data/latest/api/token") => Some(self.open_session(request, issuing.now)),
            ("GET", "/openstack/latest/securitykey") => Some(self.security_key(request, keys, issuing)),
            _ => None,
        }
    }

    /// Replaces the key at its next request. The previous one stays valid until its end.
    pub(super) fn rotate(&mut self) {
        self.key = None;
    }

    fn open_session(&mut self, request: &Seen, now: DateTime<Utc>) -> Answer {
        if let MetadataMode::V1(status) = self.mode {
            return Answer::text(status, "there are no session tokens");
        }
        let ttl = request.header("x-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else {
            return Answer::text(StatusCode::BAD_REQUEST, "X-Metadata-Token-Ttl-Seconds must be 1 to 21600");
        };
        self.sessions.retain(|(_, end)| *end > now);
        let token = random(56);
        self.sessions.push((Secret::new(&*token), now + TimeDelta::seconds(ttl)));
        Answer::text(StatusCode::OK, &token)
    }

    fn security_key(&mut self, request: &Seen, keys: &mut Keys, issuing: Issuing) -> Answer {
        let opened = || {
            let token = request.header("x-metadata-token").unwrap_or_default();
            self.sessions.iter().any(|(session, end)| same(session, token) && *end > issuing.now)
        };
        let refused = match self.mode {
            MetadataMode::V2 | MetadataMode::NoAgency if !opened() => {
                Some("X-Metadata-Token is missing, expired or unknown")
            }
            MetadataMode::NoAgency => Some("Please configure Cloud Service Agency first"),
            MetadataMode::V2 | MetadataMode::V1(_) => None,
        };
        if let Some(why) = refused {
            return Answer::text(StatusCode::UNAUTHORIZED, why);
        }
        let good = |key: &Issued| {
            key.expires_at - self.replaced_before_end > issuing.now && keys.in_force(&key.access, issuing.now)
        };
        let key = match self.key.take().filter(good) {
            Some(key) => key,
            None => keys.issue(&self.project_id, issuing.term(LIFETIME)),
        };
        let credential = key.as_credential();
        self.key = Some(key);
        Answer::json(StatusCode::OK, &json!({ "credential": credential }))
    }
}

/// Parses the statuses by which clients recognise version 1.
fn without_tokens<'de, D: Deserializer<'de>>(status: D) -> Result<StatusCode, D::Error> {
    match u16::deserialize(status)? {
        404 => Ok(StatusCode::NOT_FOUND),
        405 => Ok(StatusCode::METHOD_NOT_ALLOWED),
        503 => Ok(StatusCode::SERVICE_UNAVAILABLE),
        _ => Err(serde::de::Error::custom("it must be 404, 405 or 503")),
    }
}

const MAX_TTL: i64 = 21_600;
const LIFETIME: TimeDelta = TimeDelta::hours(24);
