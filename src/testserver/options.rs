//! Who may call the stand-in, and how.

use std::sync::Arc;

use super::access_key::AccessKey;
use super::federation::IdentityProvider;
use super::iam::User;
use super::pod_identity::Pod;
use super::sts::Agency;

/// Who may call, and how.
#[derive(Default)]
pub struct Options {
    /// The access keys that are accepted.
    pub access_keys: Vec<AccessKey>,
    /// The users who may sign in at IAM for a token.
    pub users: Vec<User>,
    /// The project that this machine's agency is for: the metadata service hands out keys for it. No metadata
    /// service where absent.
    pub metadata: Option<String>,
    /// The pods that may ask the pod identity agent for a key.
    pub pods: Vec<Pod>,
    /// The identity providers that IAM and STS believe.
    pub identity_providers: Vec<IdentityProvider>,
    /// The agencies that STS knows.
    pub agencies: Vec<Agency>,
    /// Names answered to besides the address and `localhost`, with or without the port. Others are no such API.
    pub hosts: Vec<String>,
    /// The server's side of TLS; plain HTTP where absent.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}
