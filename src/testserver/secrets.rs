//! Generates and compares secrets.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::secret::Secret;

/// The time of issuing a credential, and its lifetime if set by the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issuing {
    pub(super) now: DateTime<Utc>,
    pub(super) chosen: Option<TimeDelta>,
}

/// The validity of an issued credential.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

impl Issuing {
    /// Returns the validity, with the usual lifetime unless the test has set another.
    pub(super) fn term(self, usual: TimeDelta) -> Term {
        Term { from: self.now, until: self.now + self.chosen.unwrap_or(usual) }
    }
}

/// Compares a text with a secret in constant time.
pub(super) fn same(secret: &Secret, text: &str) -> bool {
    secret.expose().as_bytes().ct_eq(text.as_bytes()).into()
}

/// Returns random characters of `0-9a-f`.
pub(super) fn random(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &Uuid::new_v4().simple().to_string();
    }
    text.truncate(length);
    text
}

/// Formats a time like IAM v3: `2020-01-04T09:05:22.701000Z`.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Formats a time like STS v5: `2022-09-07T03:27:51.158Z`.
pub(super) fn short_timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
