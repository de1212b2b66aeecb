//! The status of a credential.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::SourceCandidate;

/// The status of a credential. Contains no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialStatus {
    /// Whether calls can use it.
    pub ready: bool,
    /// Whether it has a value that has not expired.
    pub in_force: bool,
    /// The first characters of its access key.
    pub key_hint: Option<String>,
    /// When its value expires. `None` if never, or if there is no value.
    pub expires_at: Option<DateTime<Utc>>,
    /// The remaining life of its value, by the clock of the endpoint that gave it.
    pub left: Option<Duration>,
    /// How long it is still suspended.
    pub held_back: Option<Duration>,
    /// Why its source failed the last time, or why its value is not usable.
    pub problem: Option<Arc<str>>,
    /// The sources that were examined, if one is chosen automatically.
    pub candidates: Arc<[SourceCandidate]>,
}

impl CredentialStatus {
    /// Returns why calls cannot use it, if they cannot.
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
