//! Credentials: the access key or token in force.
//!
//! A provider ([`Provide`]) asks a [`Source`] for a credential; a [`Refresher`] does so ahead of time; a
//! [`CachedCredential`] keeps the last good value. Requests borrow it as a [`Lease`], and wait for a source only for the
//! very first value or after the last has expired. The module uses `upstream` to ask IAM, STS and the metadata services, and
//! configuration uses its [`Source`]. It does not sign the calls of callers.

mod agency;
mod auto;
mod cached;
mod context;
mod environment;
mod error;
mod exchange;
mod factory;
mod files;
mod health;
mod iam_password;
mod ini;
mod ledger;
mod metadata;
mod oidc;
mod oidc_sts;
mod pod_identity;
mod profile;
mod provide;
mod read;
mod refresh;
mod source;
mod status;
mod token_file;
mod value;
mod verdict;

pub use auto::find_candidates;
pub use cached::{CachedCredential, Lease, LeasedCredential, Unavailable};
pub use context::ProviderContext;
pub use environment::variable_of;
pub use error::ProvideError;
pub use metadata::endpoint as default_metadata;
pub use profile::{SECTION as DEFAULT_SECTION, default_path as default_profile};
pub use provide::{Expiry, Provide, ProvideFuture, Provided, SourceCandidate};
pub use refresh::{Refresher, Round};
pub use source::{
    Agency, DEFAULT_KEY_LIFETIME, KnownEndpoints, MAX_KEY_LIFETIME, Oidc, OidcSts, Password, Profile,
    SESSION_NAME, Source,
};
pub use status::CredentialStatus;
pub use value::{Credential, Token};
pub use verdict::{Verdict, is_misdated};
