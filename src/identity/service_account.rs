//! Which Kubernetes service account is this token of?
//!
//! It stands above `jwks`, which knows whose signature is right, and below `identity`, which knows the callers.
//! A claim is looked at only after its signature was verified. A token is verified offline: one whose pod is gone
//! counts until it expires, so their lifetime should be short (`expirationSeconds`, 10 minutes at least).

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{
    IdentityError,
    jwks::{KeySet, TokenError},
};

/// A service account of one cluster, and whom its tokens must be meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What the token must be meant for, besides others perhaps.
    pub audience: Box<str>,
    /// Who must have issued it.
    pub issuer: Box<str>,
    /// The keys of that issuer.
    pub keys: Arc<KeySet>,
}

/// What a token says, its signature verified.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    /// In seconds since 1970. A token without an end is refused: those of old clusters have none.
    exp: i64,
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What a token is bound to. A pod, a node or a secret may be named as well; they play no part.
#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Whether a bearer token has the form of a signed JWT: three parts.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.split('.').count() == 3
}

/// What a token claims, if the holder of these keys signed it and it is valid at this time.
pub(super) fn verify(token: &str, keys: &KeySet, now: DateTime<Utc>) -> Result<Claims, IdentityError> {
    let claims: Claims = keys.verified(token).map_err(|error| {
        IdentityError::WrongServiceAccount(match error {
            TokenError::Malformed => "it cannot be read",
            TokenError::Signature => "it is not signed by a known key",
            TokenError::Claims => "it is not bound to a service account, or has no end",
        })
    })?;
    let now = now.timestamp();
    if now >= claims.exp.saturating_add(LEEWAY.num_seconds()) {
        return Err(IdentityError::WrongServiceAccount("it has expired"));
    }
    if claims.nbf.is_some_and(|from| now < from.saturating_sub(LEEWAY.num_seconds())) {
        return Err(IdentityError::WrongServiceAccount("it is not valid yet"));
    }
    Ok(claims)
}

impl ServiceAccount {
    /// Whether verified claims are of this service account and meant for us. The keys are compared elsewhere.
    pub(super) fn is_claimed_by(&self, claims: &Claims) -> bool {
        let meant_for_us = match &claims.aud {
            Audience::One(audience) => **audience == *self.audience,
            Audience::Several(all) => all.iter().any(|audience| **audience == *self.audience),
        };
        meant_for_us
            && *claims.iss == *self.issuer
            && *claims.bound.namespace == *self.namespace
            && *claims.bound.serviceaccount.name == *self.name
    }
}

/// How far the clocks of the cluster and of this machine may be apart.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);
