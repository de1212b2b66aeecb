//! Credential sources as configured.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::upstream::Endpoint;

/// The source of a credential, with resolved paths and endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `HUAWEICLOUD_SDK_AK`, `_SK` and, for temporary keys, `_SECURITY_TOKEN`.
    Environment,
    /// Files with one value each, with an optional line end.
    Files {
        /// The access key (AK).
        access_key: PathBuf,
        /// The secret key (SK).
        secret_key: PathBuf,
        /// The security token of temporary keys.
        security_token: Option<PathBuf>,
    },
    /// A section of a profile of the official SDKs.
    Profile(Profile),
    /// The agency of this ECS instance, from the metadata service at this address.
    Metadata(Endpoint),
    /// The agency of this CCE pod, from the platform's environment variables.
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
    /// The first of pod identity, federation, environment, profile and metadata that exists.
    Auto(KnownEndpoints),
}

/// A section of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The file.
    pub path: PathBuf,
    /// The section's name.
    pub section: String,
    /// The default IAM endpoint if the section uses federation.
    pub iam_endpoint: Option<Endpoint>,
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

/// The default endpoints, for an environment that does not name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownEndpoints {
    /// IAM.
    pub iam: Option<Endpoint>,
    /// STS.
    pub sts: Option<Endpoint>,
}

impl Source {
    /// Returns its kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Files { .. } => "files",
            Self::Profile(_) => "profile",
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

    /// Whether it gives a user token rather than a key.
    pub fn gives_token(&self) -> bool {
        match self {
            Self::IamPassword(_) | Self::TokenFile(_) => true,
            Self::Environment
            | Self::Files { .. }
            | Self::Profile(_)
            | Self::Metadata(_)
            | Self::PodIdentity
            | Self::Oidc(_)
            | Self::OidcSts(_)
            | Self::Agency(_)
            | Self::Auto(_) => false,
        }
    }

    /// Whether it is on this machine, so that asking it takes no time.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Environment | Self::Files { .. } | Self::TokenFile(_) => true,
            Self::Profile(_)
            | Self::Metadata(_)
            | Self::PodIdentity
            | Self::Oidc(_)
            | Self::OidcSts(_)
            | Self::Agency(_)
            | Self::IamPassword(_)
            | Self::Auto(_) => false,
        }
    }

    /// Returns the name of the credential that it needs, if any.
    pub fn base(&self) -> Option<&Arc<str>> {
        if let Self::Agency(agency) = self { Some(&agency.base) } else { None }
    }

    /// Returns its configured endpoint, if any.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Metadata(endpoint) => Some(endpoint),
            Self::Oidc(oidc) => Some(&oidc.iam_endpoint),
            Self::OidcSts(sts) => Some(&sts.sts_endpoint),
            Self::Agency(agency) => Some(&agency.sts_endpoint),
            Self::IamPassword(password) => Some(&password.iam_endpoint),
            Self::Profile(profile) => profile.iam_endpoint.as_ref(),
            Self::Environment
            | Self::Files { .. }
            | Self::PodIdentity
            | Self::TokenFile(_)
            | Self::Auto(_) => None,
        }
    }
}

/// The default session name in the cloud's own records.
pub const SESSION_NAME: &str = "mpc-auth-proxy";
/// The lifetime requested from IAM, as by the official SDKs.
pub const MAX_KEY_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);
/// The lifetime requested from STS, as by the official SDKs.
pub const DEFAULT_KEY_LIFETIME: Duration = Duration::from_secs(60 * 60);
