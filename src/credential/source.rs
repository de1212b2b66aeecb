//! Credential sources. What a user can write, and the provider that it stands for.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use super::{
    CachedCredential, KnownEndpoints, Provide, ProvideError, agency, auto, environment, exchange::Exchange,
    files, health::KeyHealthRegistry, iam_password, metadata, oidc, oidc_sts, pod_identity, profile,
    token_file,
};
use crate::{
    clock::Clocks,
    upstream::{DialerError, Egress, Endpoint},
};

/// Where a credential comes from. Paths are resolved, endpoints are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `HUAWEICLOUD_SDK_AK`, `_SK` and, for temporary keys, `_SECURITY_TOKEN`.
    Environment,
    /// One file a value, each holding the value and perhaps a line end.
    Files {
        /// The access key (AK).
        access_key: PathBuf,
        /// The secret key (SK).
        secret_key: PathBuf,
        /// The security token of temporary keys.
        security_token: Option<PathBuf>,
    },
    /// A section of a file as the official SDKs read it.
    Profile {
        /// The file.
        path: PathBuf,
        /// The section's name.
        section: String,
        /// IAM, where the section asks for federation and does not name it.
        iam_endpoint: Option<Endpoint>,
    },
    /// The agency of this ECS instance, from the metadata service at this address.
    Metadata(Endpoint),
    /// The agency of this CCE pod, by what the platform put into the environment.
    PodIdentity,
    /// A key for an identity token, from IAM v3.
    Oidc(Oidc),
    /// A key for an identity token, from STS v5.
    OidcSts(OidcSts),
    /// A key of an agency, from STS v5.
    Agency(Agency),
    /// A user token for a password, from IAM v3.
    IamPassword(Password),
    /// A user token, for `X-Auth-Token`.
    TokenFile(PathBuf),
    /// The first of pod identity, federation, environment, profile and metadata that is there.
    Auto(KnownEndpoints),
}

/// Federation by IAM v3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// IAM.
    pub iam_endpoint: Endpoint,
    /// The id of the identity provider in IAM.
    pub idp_id: String,
    /// The file with the identity token.
    pub id_token_file: PathBuf,
    /// For how long a key is asked for.
    pub duration: Duration,
}

/// Federation by STS v5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSts {
    /// STS.
    pub sts_endpoint: Endpoint,
    /// The URN of the identity provider.
    pub provider_urn: String,
    /// The URN of the agency to assume.
    pub agency_urn: String,
    /// The file with the identity token.
    pub id_token_file: PathBuf,
    /// What the cloud's own records call the session.
    pub session_name: String,
    /// For how long a key is asked for.
    pub duration: Duration,
}

/// Assuming an agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agency {
    /// The name of the credential to assume it with: an access key.
    pub base: Arc<str>,
    /// STS.
    pub sts_endpoint: Endpoint,
    /// The URN of the agency to assume.
    pub agency_urn: String,
    /// What the cloud's own records call the session.
    pub session_name: String,
    /// For how long a key is asked for.
    pub duration: Duration,
}

/// A user who signs in with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// IAM.
    pub iam_endpoint: Endpoint,
    /// The account that the user belongs to.
    pub domain: String,
    /// The user's name.
    pub user: String,
    /// The file with the password in its only line.
    pub password_file: PathBuf,
    /// The id of the project that tokens are for.
    pub project_id: Arc<str>,
}

/// What providers are made with.
#[derive(Clone)]
pub struct ProviderContext {
    /// Which way leads to endpoints.
    pub(super) egress: Egress,
    /// For DNS, TCP and TLS together.
    pub(super) connect_timeout: Duration,
    /// What is known of the endpoints' clocks.
    pub(super) clocks: Clocks,
    /// The health of the access keys in use.
    pub(super) keys: KeyHealthRegistry,
    /// The credentials that agencies are assumed with, by name, as far as they are made.
    pub(super) bases: HashMap<Arc<str>, Arc<CachedCredential>>,
}

impl ProviderContext {
    /// This way to endpoints, and as much time to connect, for DNS, TCP and TLS together; by these
    /// clocks.
    pub fn new(egress: &Egress, connect_timeout: Duration, clocks: &Clocks) -> Self {
        let (egress, clocks, keys) = (egress.clone(), clocks.clone(), KeyHealthRegistry::default());
        Self { egress, connect_timeout, clocks, keys, bases: HashMap::new() }
    }
}

impl Source {
    /// Its kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Files { .. } => "files",
            Self::Profile { .. } => "profile",
            Self::Metadata(_) => "metadata",
            Self::PodIdentity => "pod_identity",
            Self::Oidc(_) => "oidc",
            Self::OidcSts(_) => "oidc_sts",
            Self::Agency(_) => "agency",
            Self::IamPassword(_) => "iam_password",
            Self::TokenFile(_) => "token_file",
            Self::Auto(_) => "auto",
        }
    }

    /// Whether what it gives is a user token, and not a key.
    pub fn gives_token(&self) -> bool {
        match self {
            Self::IamPassword(_) | Self::TokenFile(_) => true,
            Self::Environment
            | Self::Files { .. }
            | Self::Profile { .. }
            | Self::Metadata(_)
            | Self::PodIdentity
            | Self::Oidc(_)
            | Self::OidcSts(_)
            | Self::Agency(_)
            | Self::Auto(_) => false,
        }
    }

    /// Whether it is on this machine: asking it takes no time.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Environment | Self::Files { .. } | Self::TokenFile(_) => true,
            Self::Profile { .. }
            | Self::Metadata(_)
            | Self::PodIdentity
            | Self::Oidc(_)
            | Self::OidcSts(_)
            | Self::Agency(_)
            | Self::IamPassword(_)
            | Self::Auto(_) => false,
        }
    }

    /// The credential that it needs, by name.
    pub fn base(&self) -> Option<&Arc<str>> {
        match self {
            Self::Agency(agency) => Some(&agency.base),
            Self::Environment
            | Self::Files { .. }
            | Self::Profile { .. }
            | Self::Metadata(_)
            | Self::PodIdentity
            | Self::Oidc(_)
            | Self::OidcSts(_)
            | Self::IamPassword(_)
            | Self::TokenFile(_)
            | Self::Auto(_) => None,
        }
    }

    /// Where it is asked, if that is said in the configuration.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Metadata(endpoint) => Some(endpoint),
            Self::Oidc(oidc) => Some(&oidc.iam_endpoint),
            Self::OidcSts(sts) => Some(&sts.sts_endpoint),
            Self::Agency(agency) => Some(&agency.sts_endpoint),
            Self::IamPassword(password) => Some(&password.iam_endpoint),
            Self::Profile { iam_endpoint, .. } => iam_endpoint.as_ref(),
            Self::Environment
            | Self::Files { .. }
            | Self::PodIdentity
            | Self::TokenFile(_)
            | Self::Auto(_) => None,
        }
    }

    /// Whether what is on this machine of it is what it should be: the same reading as when it is asked, and no
    /// question to anybody.
    ///
    /// # Errors
    /// As of the provider.
    pub fn examine(&self) -> Result<(), ProvideError> {
        match self {
            Self::Environment => environment::examine(),
            Self::Files { access_key, secret_key, security_token } => {
                files::Files::new(access_key.clone(), secret_key.clone(), security_token.clone()).examine()
            }
            Self::Profile { path, section, iam_endpoint } => {
                profile::examine((path, section), iam_endpoint.as_ref())
            }
            Self::PodIdentity => pod_identity::examine(),
            Self::Oidc(oidc) => {
                oidc::provider_id(&oidc.idp_id)?;
                files::token(&oidc.id_token_file).map(drop)
            }
            Self::OidcSts(sts) => files::token(&sts.id_token_file).map(drop),
            Self::IamPassword(password) => files::password(&password.password_file).map(drop),
            Self::TokenFile(path) => token_file::TokenFile(path.clone()).read().map(drop),
            Self::Auto(known) => auto::examine(known),
            Self::Metadata(_) | Self::Agency(_) => Ok(()),
        }
    }

    /// Who asks this source.
    pub(super) fn provider(
        &self,
        provider_context: &ProviderContext,
    ) -> Result<Box<dyn Provide>, DialerError> {
        let exchange = |endpoint, timeout| Exchange::new(endpoint, provider_context, timeout);
        Ok(match self.clone() {
            Self::Environment => Box::new(environment::Environment),
            Self::Files { access_key, secret_key, security_token } => {
                Box::new(files::Files::new(access_key, secret_key, security_token))
            }
            Self::Profile { path, section, iam_endpoint } => {
                Box::new(profile::Profile::new((path, section), iam_endpoint, provider_context.clone()))
            }
            Self::Metadata(endpoint) => {
                Box::new(metadata::Metadata::new(exchange(&endpoint, metadata::TIMEOUT)?))
            }
            Self::PodIdentity => Box::new(pod_identity::PodIdentity(provider_context.clone())),
            Self::Oidc(settings) => {
                Box::new(oidc::Oidc::new(exchange(&settings.iam_endpoint, CLOUD_TIMEOUT)?, settings))
            }
            Self::OidcSts(settings) => {
                Box::new(oidc_sts::OidcSts::new(exchange(&settings.sts_endpoint, CLOUD_TIMEOUT)?, settings))
            }
            Self::Agency(settings) => {
                let base = provider_context.bases.get(&settings.base).cloned();
                let exchange = exchange(&settings.sts_endpoint, CLOUD_TIMEOUT)?;
                Box::new(agency::Agency::new(exchange, base, settings))
            }
            Self::IamPassword(settings) => Box::new(iam_password::IamPassword::new(
                exchange(&settings.iam_endpoint, CLOUD_TIMEOUT)?,
                settings,
            )),
            Self::TokenFile(path) => Box::new(token_file::TokenFile(path)),
            Self::Auto(known) => Box::new(auto::Auto::new(known, provider_context.clone())),
        })
    }
}

/// What the cloud's records call a session where the configuration does not say.
pub const SESSION_NAME: &str = "mpc-auth-proxy";
/// For how long IAM is asked for a key, as the official SDKs ask.
pub const MAX_KEY_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);
/// For how long STS is asked for a key, as the official SDKs ask.
pub const DEFAULT_KEY_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// For one request to IAM or STS.
pub(super) const CLOUD_TIMEOUT: Duration = Duration::from_secs(10);
