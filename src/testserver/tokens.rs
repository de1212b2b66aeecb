//! Valid IAM tokens. Scoped ones are for a project; unscoped ones can only be exchanged for a key.

use chrono::{DateTime, Utc};

use super::secrets::{Term, random, same};
use crate::secret::Secret;

/// The scope of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Calls to the project, and a temporary key for it.
    Project,
    /// A temporary key for the project, and no calls.
    Unscoped,
}

/// The tokens that are neither revoked nor known to have expired.
#[derive(Default)]
pub(super) struct Tokens(Vec<Token>);

struct Token {
    value: Secret,
    scope: Scope,
    project_id: String,
    expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Issues a token for the project.
    pub(super) fn issue(&mut self, project_id: &str, scope: Scope, term: Term) -> String {
        let value = format!("MIItest{}", random(64));
        self.0.retain(|token| token.expires_at > term.from);
        let (project_id, expires_at) = (project_id.to_owned(), term.until);
        self.0.push(Token { value: Secret::new(&*value), scope, project_id, expires_at });
        value
    }

    /// Accepts a token of the test's own, as if it had been issued for the project.
    pub(super) fn accept(&mut self, value: Secret, project_id: &str, term: Term) {
        let (project_id, expires_at) = (project_id.to_owned(), term.until);
        self.0.push(Token { value, scope: Scope::Project, project_id, expires_at });
    }

    /// Returns the project that calls with this token may use.
    pub(super) fn project_of(&self, value: &str, now: DateTime<Utc>) -> Option<&str> {
        self.find(value, now).filter(|token| token.scope == Scope::Project).map(|token| &*token.project_id)
    }

    /// Returns the project of a temporary key that this token is exchanged for.
    pub(super) fn project_of_key(&self, value: &str, now: DateTime<Utc>) -> Option<&str> {
        self.find(value, now).map(|token| &*token.project_id)
    }

    /// Revokes a token.
    pub(super) fn revoke(&mut self, value: &str) {
        self.0.retain(|token| !same(&token.value, value));
    }

    /// Revokes all tokens.
    pub(super) fn revoke_all(&mut self) {
        self.0.clear();
    }

    fn find(&self, value: &str, now: DateTime<Utc>) -> Option<&Token> {
        self.0.iter().find(|token| same(&token.value, value) && token.expires_at > now)
    }
}
