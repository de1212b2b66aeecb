//! IAM v3's sign-in with a password, with account locks.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde_json::json;

use super::{
    Seen, User,
    answer::Answer,
    lock::{Attempts, Lock},
    secrets::{Issuing, Term, same, timestamp},
    seen::bodies,
    tokens::{Scope, Tokens},
};
use crate::secret::Secret;

/// The users with the locks of their accounts.
pub(super) struct Users(Vec<Account>);

struct Account {
    user: User,
    lock: Lock,
}

impl Users {
    /// Creates users without failures.
    pub(super) fn new(users: Vec<User>) -> Self {
        Self(users.into_iter().map(|user| Account { user, lock: Lock::default() }).collect())
    }

    /// Adds a user with an unlocked account. Replaces one with the same name.
    pub(super) fn put(&mut self, user: User) {
        self.0.retain(|known| !known.is(&user.domain, &user.name));
        self.0.push(Account { user, lock: Lock::default() });
    }

    /// Returns a user's wrong passwords in a row. `None` if there is no such user.
    pub(super) fn attempts(&self, domain: &str, name: &str, now: DateTime<Utc>) -> Option<Attempts> {
        Some(self.0.iter().find(|known| known.is(domain, name))?.lock.attempts(now))
    }

    /// Answers `POST /v3/auth/tokens`.
    pub(super) fn sign_in(&mut self, tokens: &mut Tokens, request: &Seen, issuing: Issuing) -> Answer {
        let Ok(SignIn { auth }) = serde_json::from_slice(&request.body) else {
            return error(StatusCode::BAD_REQUEST, "The request body is invalid.");
        };
        if auth.identity.methods != ["password"] {
            return error(StatusCode::BAD_REQUEST, "The authentication method must be password.");
        }
        let claimed = auth.identity.password.user;
        let account = self.0.iter_mut().find(|known| known.is(&claimed.domain.name, &claimed.name));
        let Some(Account { user, lock }) = account else {
            return error(StatusCode::UNAUTHORIZED, "The username or password is wrong.");
        };
        if lock.attempts(issuing.now).locked {
            return error(StatusCode::UNAUTHORIZED, "The account is locked. Try again in 15 minutes.");
        }
        if !same(&user.password, claimed.password.expose()) {
            lock.fail(issuing.now, LOCKED_FOR);
            return error(StatusCode::UNAUTHORIZED, "The username or password is wrong.");
        }
        lock.succeed();
        if auth.scope.project.id != user.project_id {
            return error(StatusCode::FORBIDDEN, "You are not authorized to access the project.");
        }
        let term = issuing.term(TOKEN_LIFETIME);
        let token = tokens.issue(&user.project_id, Scope::Project, term);
        signed_in(user, term).with("x-subject-token", token)
    }
}

impl Account {
    fn is(&self, domain: &str, name: &str) -> bool {
        self.user.domain == domain && self.user.name == name
    }
}

/// Returns IAM's answer with a new token.
fn signed_in(user: &User, term: Term) -> Answer {
    let domain = json!({ "id": "00000000000000000000000000000001", "name": user.domain });
    let id = "00000000000000000000000000000002";
    let body = json!({ "token": {
        "catalog": [],
        "expires_at": timestamp(term.until),
        "issued_at": timestamp(term.from),
        "methods": ["password"],
        "project": { "domain": domain, "id": user.project_id, "name": "test" },
        "roles": [],
        "user": { "domain": domain, "id": id, "name": user.name, "password_expires_at": "" },
    } });
    Answer::json(StatusCode::CREATED, &body)
}

/// Returns an error in IAM's format.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let title = status.canonical_reason();
    Answer::json(status, &json!({ "error": { "code": status.as_u16(), "message": message, "title": title } }))
}

bodies! {
    struct SignIn { auth: Auth }
    struct Auth { identity: Identity, scope: ClaimedScope }
    struct Identity { methods: Vec<String>, password: Password }
    struct Password { user: ClaimedUser }
    struct ClaimedUser { name: String, password: Secret, domain: Domain }
    struct Domain { name: String }
    struct ClaimedScope { project: Project }
    struct Project { id: String }
}

/// The documented lifetime. At the real IAM a token ends earlier if its user's password or permissions change; here the test
/// revokes it.
pub(super) const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// The documented duration of a lock.
const LOCKED_FOR: TimeDelta = TimeDelta::minutes(15);
