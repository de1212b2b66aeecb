//! Who may have a user token? IAM's password sign-in, and the tokens in force.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::answer::Answer;
use crate::secret::Secret;

/// A user who may sign in with a password.
#[derive(Clone, Debug)]
pub struct User {
    /// The account the user belongs to.
    pub domain: String,
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The id of the only project tokens are issued for.
    pub project_id: String,
}

/// The tokens that are neither revoked nor known to have expired.
#[derive(Default)]
pub(super) struct Tokens(Vec<Token>);

struct Token {
    value: Secret,
    project_id: String,
    expires_at: DateTime<Utc>,
}

impl Tokens {
    /// A new token for the project.
    pub(super) fn issue(&mut self, project_id: &str, now: DateTime<Utc>) -> String {
        let value = format!("MIItest{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.accept(Secret::new(&*value), project_id, now);
        value
    }

    /// Takes a token as if it had been issued now.
    pub(super) fn accept(&mut self, value: Secret, project_id: &str, now: DateTime<Utc>) {
        self.0.retain(|token| token.expires_at > now);
        let expires_at = now + TOKEN_LIFETIME;
        self.0.push(Token { value, project_id: project_id.to_owned(), expires_at });
    }

    /// The project the token is for, where it is in force.
    pub(super) fn project_of(&self, value: &str, now: DateTime<Utc>) -> Option<&str> {
        let token = self.0.iter().find(|token| same(token.value.expose(), value))?;
        (token.expires_at > now).then_some(&*token.project_id)
    }

    /// Takes one token out of force.
    pub(super) fn revoke(&mut self, value: &str) {
        self.0.retain(|token| !same(token.value.expose(), value));
    }

    /// Takes all tokens out of force.
    pub(super) fn revoke_all(&mut self) {
        self.0.clear();
    }
}

/// Answers `POST /v3/auth/tokens`.
pub(super) fn sign_in(users: &[User], tokens: &mut Tokens, body: &[u8], now: DateTime<Utc>) -> Answer {
    let Ok(SignIn { auth }) = serde_json::from_slice(body) else {
        return error(StatusCode::BAD_REQUEST, "The request body is invalid.");
    };
    if auth.identity.methods != ["password"] {
        return error(StatusCode::BAD_REQUEST, "The authentication method must be password.");
    }
    let claimed = auth.identity.password.user;
    let is_claimed = |user: &&User| user.name == claimed.name && user.domain == claimed.domain.name;
    let known = users.iter().find(is_claimed);
    let Some(user) = known.filter(|user| same(user.password.expose(), claimed.password.expose())) else {
        return error(StatusCode::UNAUTHORIZED, "The username or password is wrong.");
    };
    if auth.scope.project.id != user.project_id {
        return error(StatusCode::FORBIDDEN, "You are not authorized to access the project.");
    }
    let token = tokens.issue(&user.project_id, now);
    let domain = json!({ "id": "00000000000000000000000000000001", "name": user.domain });
    let body = json!({ "token": {
        "catalog": [],
        "expires_at": timestamp(now + TOKEN_LIFETIME),
        "issued_at": timestamp(now),
        "methods": ["password"],
        "project": { "domain": domain, "id": user.project_id, "name": "test" },
        "roles": [],
        "user": {
            "domain": domain,
            "id": "00000000000000000000000000000002",
            "name": user.name,
            "password_expires_at": "",
        },
    } });
    Answer::json(StatusCode::CREATED, body).with("x-subject-token", token)
}

/// An error in IAM's shape.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let title = status.canonical_reason();
    Answer::json(status, json!({ "error": { "code": status.as_u16(), "message": message, "title": title } }))
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// As documented: `2020-01-04T09:05:22.701000Z`.
fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    auth: Auth,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    identity: Identity,
    scope: Scope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    methods: Vec<String>,
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    user: ClaimedUser,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimedUser {
    name: String,
    #[serde(deserialize_with = "secret")]
    password: Secret,
    domain: Domain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    project: Project,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    id: String,
}

fn secret<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Secret, D::Error> {
    String::deserialize(text).map(Secret::new)
}

const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(24);
