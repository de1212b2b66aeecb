//! The options of the stand-in: who may call it, and how.

use std::sync::Arc;

use serde::Deserialize;

use crate::secret::Secret;

/// Who may call the stand-in, and how.
#[derive(Default)]
pub struct Options {
    /// The access keys that are accepted.
    pub access_keys: Vec<AccessKey>,
    /// The users who may sign in at IAM for a token.
    pub users: Vec<User>,
    /// The project for which the metadata service issues keys. `None` for no metadata service.
    pub metadata: Option<String>,
    /// The pods that may ask the pod identity agent for a key.
    pub pods: Vec<Pod>,
    /// The identity providers that IAM and STS trust.
    pub identity_providers: Vec<IdentityProvider>,
    /// The agencies that STS knows.
    pub agencies: Vec<Agency>,
    /// Accepted host names besides the address and `localhost`, with or without the port.
    pub hosts: Vec<String>,
    /// The TLS configuration. `None` for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// An access key that is accepted, for one project.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id (AK).
    pub id: String,
    /// The secret key (SK).
    pub secret: Secret,
    /// The security token that must come with a temporary key. A permanent key must come without one.
    pub security_token: Option<Secret>,
    /// The id of the only project the key is for.
    pub project_id: String,
}

impl AccessKey {
    /// A permanent key.
    pub fn permanent(id: &str, secret: &str, project_id: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: Secret::new(secret),
            security_token: None,
            project_id: project_id.to_owned(),
        }
    }
}

/// A user who may sign in with a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// A pod that may ask for a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// The path of its requests. It starts with `/` and takes precedence over other services.
    pub path: String,
    /// The token that it sends in `Authorization`, without a scheme.
    pub token: Secret,
    /// The id of the only project its keys are for.
    pub project_id: String,
}

/// An identity provider that IAM v3 and STS v5 trust.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// Its name at IAM v3: `X-Idp-Id`.
    pub id: String,
    /// Its name at STS v5: `provider_urn`.
    pub urn: String,
    /// The only valid id token.
    pub id_token: Secret,
    /// The id of the only project that keys obtained by IAM v3 are for.
    pub project_id: String,
}

/// An agency that others may assume.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    /// Its name: `iam::{account_id}:agency:{agency_name}`.
    pub urn: String,
    /// Who may assume it.
    pub trusts: Trusted,
    /// The id of the only project its keys are for.
    pub project_id: String,
}

/// Whom an agency trusts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trusted {
    /// The holder of the access key with this id: `{"access_key":"…"}`.
    AccessKey(String),
    /// The holder of an id token of the identity provider with this URN: `{"provider":"…"}`.
    Provider(String),
}
