//! IAM v3's exchange of an identity provider's token for a temporary key.
//!
//! In two steps: the id token is exchanged for an unscoped token of IAM's, and that for the key. Id tokens are compared, not
//! verified, because the stand-in has no identity provider's keys.

use chrono::TimeDelta;
use http::StatusCode;
use serde_json::json;

use super::{
    IdentityProvider, Seen,
    answer::Answer,
    iam::{TOKEN_LIFETIME, error},
    keys::Keys,
    secrets::{Issuing, same, timestamp},
    seen::bodies,
    tokens::{Scope, Tokens},
};
use crate::secret::Secret;

/// Answers `POST /v3.0/OS-AUTH/id-token/tokens`.
pub(super) fn exchange_id_token(
    providers: &[IdentityProvider],
    tokens: &mut Tokens,
    request: &Seen,
    issuing: Issuing,
) -> Answer {
    let Ok(IdTokenBody { auth }) = serde_json::from_slice(&request.body) else {
        return error(StatusCode::BAD_REQUEST, "The request body is invalid.");
    };
    let Some(idp_id) = request.header("x-idp-id") else {
        return error(StatusCode::BAD_REQUEST, "The header X-Idp-Id is missing.");
    };
    let Some(provider) = providers.iter().find(|provider| provider.id == idp_id) else {
        return error(StatusCode::NOT_FOUND, &format!("Could not find Identity Provider: {idp_id}."));
    };
    if !same(&provider.id_token, auth.id_token.id.expose()) {
        return error(StatusCode::UNAUTHORIZED, "The id token is invalid.");
    }
    let term = issuing.term(TOKEN_LIFETIME);
    let token = tokens.issue(&provider.project_id, Scope::Unscoped, term);
    let body = json!({ "token": {
        "expires_at": timestamp(term.until),
        "issued_at": timestamp(term.from),
        "methods": ["mapped"],
        "roles": [],
        "user": {
            "OS-FEDERATION": { "groups": [], "identity_provider": { "id": idp_id }, "protocol": { "id": "oidc" } },
            "domain": { "id": "00000000000000000000000000000001", "name": "test" },
            "id": "00000000000000000000000000000003",
            "name": "FederationUser",
        },
    } });
    Answer::json(StatusCode::CREATED, &body).with("x-subject-token", token)
}

/// Answers `POST /v3.0/OS-CREDENTIAL/securitytokens`.
pub(super) fn exchange_token(tokens: &Tokens, keys: &mut Keys, request: &Seen, issuing: Issuing) -> Answer {
    let Ok(TokenBody { auth: Auth { identity } }) = serde_json::from_slice(&request.body) else {
        return error(StatusCode::BAD_REQUEST, "The request body is invalid.");
    };
    if identity.methods != ["token"] {
        return error(StatusCode::BAD_REQUEST, "The authentication method must be token.");
    }
    let duration = identity.token.duration_seconds.unwrap_or(900);
    if !(900..=86_400).contains(&duration) {
        return error(StatusCode::BAD_REQUEST, "The value of duration_seconds must be 900 to 86400.");
    }
    let Some(project_id) = tokens.project_of_key(identity.token.id.expose(), issuing.now) else {
        return error(StatusCode::UNAUTHORIZED, "The token is invalid or has expired.");
    };
    let key = keys.issue(project_id, issuing.term(TimeDelta::seconds(duration)));
    Answer::json(StatusCode::CREATED, &json!({ "credential": key.as_credential() }))
}

bodies! {
    struct IdTokenBody { auth: IdTokenAuth }
    struct IdTokenAuth { id_token: IdToken }
    struct IdToken { id: Secret }
    struct TokenBody { auth: Auth }
    struct Auth { identity: Identity }
    struct Identity { methods: Vec<String>, token: Token }
    struct Token { id: Secret, duration_seconds: Option<i64> }
}
