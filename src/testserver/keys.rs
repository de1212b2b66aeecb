//! The valid access keys: those of the test, and issued temporary ones.
//!
//! Every service issues its keys here, so that all are accepted, expire and are revoked alike.
//! [`signature`](super::signature) verifies signatures; this adds the key's expiry, and the lock after five bad signatures
//! in a row.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    AccessKey, Attempts, Seen,
    canonical::Unproven,
    lock::Lock,
    secrets::{Term, random, timestamp},
    signature::Claim,
};
use crate::secret::Secret;

/// An issued temporary key.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) access: String,
    pub(super) secret: Secret,
    pub(super) security_token: Secret,
    pub(super) expires_at: DateTime<Utc>,
}

/// The keys that are not revoked. Expired ones are kept for a day, to report that they expired.
pub(super) struct Keys(Vec<Held>);

struct Held {
    key: AccessKey,
    expires_at: Option<DateTime<Utc>>,
    lock: Lock,
}

impl Keys {
    /// Creates keys without expiry.
    pub(super) fn new(keys: Vec<AccessKey>) -> Self {
        let held = |key| Held { key, expires_at: None, lock: Lock::default() };
        Self(keys.into_iter().map(held).collect())
    }

    /// Adds a key without expiry, unlocked. Replaces one with the same id.
    pub(super) fn put(&mut self, key: AccessKey) {
        self.revoke(&key.id);
        self.0.push(Held { key, expires_at: None, lock: Lock::default() });
    }

    /// Issues a temporary key for the project.
    pub(super) fn issue(&mut self, project_id: &str, term: Term) -> Issued {
        self.0.retain(|held| held.expires_at.is_none_or(|end| end + TimeDelta::days(1) > term.from));
        let issued = Issued {
            access: format!("HSTT{}", random(16).to_uppercase()),
            secret: Secret::new(random(40)),
            // Real ones begin like this, too, and have a kilobyte or more.
            security_token: Secret::new(format!("gQpjbi1ub3J0aC00{}==", random(1024))),
            expires_at: term.until,
        };
        let key = AccessKey {
            id: issued.access.clone(),
            secret: issued.secret.clone(),
            security_token: Some(issued.security_token.clone()),
            project_id: project_id.to_owned(),
        };
        self.0.push(Held { key, expires_at: Some(term.until), lock: Lock::default() });
        issued
    }

    /// Whether the key is neither revoked nor expired.
    pub(super) fn in_force(&self, id: &str, now: DateTime<Utc>) -> bool {
        self.0.iter().any(|held| held.key.id == id && held.expires_at.is_none_or(|end| end > now))
    }

    /// Revokes a key.
    pub(super) fn revoke(&mut self, id: &str) {
        self.0.retain(|held| held.key.id != id);
    }

    /// Revokes all issued keys.
    pub(super) fn revoke_temporary(&mut self) {
        self.0.retain(|held| held.expires_at.is_none());
    }

    /// Returns the bad signatures of a key in a row. `None` if there is no such key.
    pub(super) fn attempts(&self, id: &str, now: DateTime<Utc>) -> Option<Attempts> {
        let held = self.0.iter().find(|held| held.key.id == id)?;
        Some(held.lock.attempts(now))
    }

    /// Returns the key that signed the request.
    pub(super) fn signer(&mut self, request: &Seen, now: DateTime<Utc>) -> Result<&AccessKey, Unproven> {
        let claim = Claim::read(request, now)?;
        let held = self.0.iter_mut().find(|held| held.key.id == claim.access);
        let held = held.ok_or_else(|| Unproven::UnknownKey(claim.access.to_owned()))?;
        if held.lock.attempts(now).locked {
            return Err(Unproven::Locked);
        }
        if held.expires_at.is_some_and(|end| end <= now) {
            return Err(Unproven::Expired(claim.access.to_owned()));
        }
        let verified = claim.verify(&held.key);
        match verified {
            Ok(()) => held.lock.succeed(),
            // Only a signature with another secret key counts; other errors mean a malformed request.
            Err(Unproven::Signature(_)) => held.lock.fail(now, LOCKED_FOR),
            Err(_) => {}
        }
        verified.map(|()| &held.key)
    }
}

impl Issued {
    /// Formats it as IAM v3 and the metadata service do.
    pub(super) fn as_credential(&self) -> Value {
        json!({
            "access": self.access,
            "secret": self.secret.expose(),
            "securitytoken": self.security_token.expose(),
            "expires_at": timestamp(self.expires_at),
        })
    }
}

/// The documented duration of a lock, for everybody who shares the key.
const LOCKED_FOR: TimeDelta = TimeDelta::minutes(5);
