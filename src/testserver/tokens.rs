//! IAM tokens in force. Scoped ones open a project, unscoped ones only buy a key.

use chrono::{DateTime, Utc};

use super::secrets::{Term, random, same};
use crate::secret::Secret;

/// What a token is good for.
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
    /// A new token for the project.
    pub(super) fn issue(&mut self, project_id: &str, scope: Scope, term: Term) -> String {
        let value = format!("MIItest{}", random(64));
        self.0.retain(|token| token.expires_at > term.from);
        let (project_id, expires_at) = (project_id.to_owned(), term.until);
        self.0.push(Token { value: Secret::new(&*value), scope, project_id, expires_at });
        value
    }

    /// Takes a token of the test's own, as if it had been issued for the project.
    pub(super) fn accept(&mut self, value: Secret, project_id: &str, term: Term) {
        let (project_id, expires_at) = (project_id.to_owned(), term.until);
        self.0.push(Token { value, scope: Scope::Project, project_id, expires_at });
    }

    /// The project that calls with this token may go to.
    pub(super) fn project_of(&self, value: &str, now: DateTime<Utc>) -> Option<&str> {
        self.find(value, now).filter(|token| token.scope == Scope::Project).map(|token| &*token.project_id)
    }

    /// The project that a temporary key bought with this token is for.
    pub(super) fn project_of_key(&self, value: &str, now: DateTime<Utc>) -> Option<&str> {
        self.find(value, now).map(|token| &*token.project_id)
    }

    /// Takes one token out of force.
    pub(super) fn revoke(&mut self, value: &str) {
        self.0.retain(|token| !same(&token.value, value));
    }

    /// Takes all tokens out of force.
    pub(super) fn revoke_all(&mut self) {
        self.0.clear();
    }

    fn find(&self, value: &str, now: DateTime<Utc>) -> Option<&Token> {
        self.0.iter().find(|token| same(&token.value, value) && token.expires_at > now)
    }
}
