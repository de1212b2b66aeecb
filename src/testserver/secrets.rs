//! Generates and compares secrets, for every service that hands one out or is shown one.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::secret::Secret;

/// When something is handed out, and for how long where the test has chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issuing {
    pub(super) now: DateTime<Utc>,
    pub(super) chosen: Option<TimeDelta>,
}

/// From when to when something that was handed out is in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

impl Issuing {
    /// For so long, unless the test has chosen otherwise.
    pub(super) fn term(self, usual: TimeDelta) -> Term {
        Term { from: self.now, until: self.now + self.chosen.unwrap_or(usual) }
    }
}

/// Whether the text is the secret, in constant time.
pub(super) fn same(secret: &Secret, text: &str) -> bool {
    secret.expose().as_bytes().ct_eq(text.as_bytes()).into()
}

/// So many random characters of `0-9a-f`.
pub(super) fn random(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &Uuid::new_v4().simple().to_string();
    }
    text.truncate(length);
    text
}

/// As IAM v3 documents it: `2020-01-04T09:05:22.701000Z`.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// As STS v5 documents it: `2022-09-07T03:27:51.158Z`.
pub(super) fn short_timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
