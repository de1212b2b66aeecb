//! What there is to tell of a credential.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::SourceCandidate;

/// What there is to tell of a credential. No secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialStatus {
    /// Whether calls can be made with it.
    pub ready: bool,
    /// Whether it has a value that has not expired.
    pub in_force: bool,
    /// The first characters of its access key.
    pub key_hint: Option<String>,
    /// When its value ends. `None` where it does not, or there is none.
    pub expires_at: Option<DateTime<Utc>>,
    /// How long its value still lives, by the clock of the endpoint that gave it.
    pub left: Option<Duration>,
    /// For how long it is held back.
    pub held_back: Option<Duration>,
    /// Why its source gave nothing the last time, or why what it gave is of no use.
    pub problem: Option<Arc<str>>,
    /// Which sources were looked for, where it is the first that is there.
    pub candidates: Arc<[SourceCandidate]>,
}

impl CredentialStatus {
    /// Why no call can be made with it, where none can.
    pub fn unusable(&self) -> Option<&'static str> {
        match self {
            Self { ready: true, .. } => None,
            Self { in_force: true, held_back: Some(_), .. } => {
                Some("suspended: upstream rejected its signatures")
            }
            Self { in_force: true, .. } => Some("expired, upstream says"),
            Self { expires_at: Some(_), .. } => Some("expired"),
            Self { .. } => Some("never read successfully"),
        }
    }
}
