//! The sources of credentials as written.

use super::declare::*;
use super::files::CREDENTIAL_FILE;
use super::project::{endpoint, endpoint_shape};
use crate::credential::{
    self, DEFAULT_KEY_LIFETIME, DEFAULT_SECTION, MAX_KEY_LIFETIME, Profile, SESSION_NAME, Source,
};
use crate::upstream::Endpoint;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

section! {
    /// A key in the environment.
    pub(super) struct RawEnvironment, "`environment`" {}
}

section! {
    /// A key in files, each with one value.
    pub(super) struct RawFiles, "`files`" {
        /// The file of the access key.
        access_key: PathBuf = CREDENTIAL_FILE, required("PATH");
        /// The file of the secret key.
        secret_key: PathBuf = CREDENTIAL_FILE, required("PATH");
        /// The file of the security token of a temporary key.
        security_token: PathBuf = CREDENTIAL_FILE, optional("none");
    }
}

impl RawFiles {
    /// Resolves it, if all of it could be read.
    pub(super) fn resolve(self) -> Option<Source> {
        let Self { access_key, secret_key, security_token } = self;
        Some(Source::Files { access_key: access_key?, secret_key: secret_key?, security_token })
    }
}

section! {
    /// A key in a profile of Huawei's SDKs.
    struct RawProfile, "`profile`" {
        /// The file of profiles.
        path: PathBuf = CREDENTIAL_FILE, optional("the SDK's default");
        /// The section in it.
        section: String = Text("the name of a section"), default(DEFAULT_SECTION.into());
    }
}

section! {
    /// The key of this ECS instance's agency.
    struct RawMetadata, "`metadata`" {
        /// The metadata service, on this machine's own link.
        endpoint: Located<Endpoint> = METADATA_ENDPOINT, optional("`http://169.254.169.254`");
    }
}

section! {
    /// The key of this CCE pod's agency.
    pub(super) struct RawPodIdentity, "`pod_identity`" {}
}

section! {
    /// A key in exchange for an identity token, by IAM v3.
    pub(super) struct RawOidc, "`oidc`" {
        /// The endpoint of IAM.
        iam_endpoint: Option<Endpoint> = IAM, optional("that of its projects' region");
        /// The id of the identity provider in IAM.
        idp_id: String = Text("the id of a provider"), required("ID");
        /// The file of the identity token, reread each time.
        id_token_file: PathBuf = CREDENTIAL_FILE, required("PATH");
        /// The requested lifetime of the key.
        duration: Duration = KEY_LIFETIME, default(MAX_KEY_LIFETIME);
    }
}

section! {
    /// An agency's key in exchange for an identity token, by STS v5.
    pub(super) struct RawOidcSts, "`oidc_sts`" {
        /// The endpoint of STS.
        sts_endpoint: Option<Endpoint> = STS, optional("that of its projects' region");
        /// The URN of the identity provider.
        provider_urn: String = Text("a URN"), required("URN");
        /// The URN of the agency.
        agency_urn: String = Text("a URN"), required("URN");
        /// The file of the identity token, reread each time.
        id_token_file: PathBuf = CREDENTIAL_FILE, required("PATH");
        /// The session's name in the cloud's own records.
        session_name: String = Text("a name"), default(SESSION_NAME.into());
        /// The requested lifetime of the key.
        duration: Duration = KEY_LIFETIME, default(DEFAULT_KEY_LIFETIME);
    }
}

section! {
    /// A user token obtained with a password, sent as `X-Auth-Token`.
    pub(super) struct RawPassword, "`iam_password`" {
        /// The endpoint of IAM.
        iam_endpoint: Option<Endpoint> = IAM, optional("that of its projects' region");
        /// The account.
        domain: String = Text("the name of an account"), required("NAME");
        /// The user.
        user: String = Text("the name of a user"), required("NAME");
        /// The file of the password.
        password_file: PathBuf = CREDENTIAL_FILE, required("PATH");
    }
}

section! {
    /// A user token in a file, sent as `X-Auth-Token`.
    pub(super) struct RawTokenFile, "`token_file`" {
        /// The file of the token.
        path: PathBuf = CREDENTIAL_FILE, required("PATH");
    }
}

section! {
    /// An agency's key, obtained with the key of another credential.
    pub(super) struct RawAgency, "`agency`" {
        /// The name of the other credential, an access key.
        base: Located<Arc<str>> = NAME, required("NAME");
        /// The endpoint of STS.
        sts_endpoint: Option<Endpoint> = STS, optional("that of its projects' region");
        /// The URN of the agency.
        agency_urn: String = Text("a URN"), required("URN");
        /// The session's name in the cloud's own records.
        session_name: String = Text("a name"), default(SESSION_NAME.into());
        /// The requested lifetime of the key.
        duration: Duration = KEY_LIFETIME, default(DEFAULT_KEY_LIFETIME);
    }
}

section! {
    /// The first available source.
    pub(super) struct RawAuto, "`auto`" {}
}

pub(super) const PROFILE: CustomKind<Profile> = own(profile, RawProfile::shape);
pub(super) const METADATA: CustomKind<Endpoint> = own(metadata, RawMetadata::shape);
const METADATA_ENDPOINT: CustomKind<Located<Endpoint>> =
    own(|source, node| endpoint(source, node, LINK_LOCAL), || endpoint_shape(LINK_LOCAL));
const IAM: CustomKind<Option<Endpoint>> =
    own(|source, node| service(source, node, IAM_EXAMPLE), || endpoint_shape(IAM_EXAMPLE));
const STS: CustomKind<Option<Endpoint>> =
    own(|source, node| service(source, node, STS_EXAMPLE), || endpoint_shape(STS_EXAMPLE));
const KEY_LIFETIME: Time = Time(Duration::from_secs(15 * 60)..=Duration::from_secs(24 * 60 * 60));
const LINK_LOCAL: &str = "http://169.254.169.254";
const IAM_EXAMPLE: &str = "https://iam.cn-north-4.myhuaweicloud.com";
const STS_EXAMPLE: &str = "https://sts.cn-north-4.myhuaweicloud.com";

fn profile(source: &SourceFile, node: &Node) -> Option<Profile> {
    let RawProfile { path, section } = RawProfile::read(source, node)?;
    let path = if node.get("path").is_some() { path } else { default_profile(source, node) };
    Some(Profile { path: path?, section, iam_endpoint: None })
}

fn default_profile(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    credential::default_profile().or_else(|| {
        let hint = "add `path: PATH`, or set HUAWEICLOUD_SDK_CREDENTIALS_FILE";
        source.reject(node.place, "no home directory to search for a profile", hint)
    })
}

fn metadata(source: &SourceFile, node: &Node) -> Option<Endpoint> {
    let RawMetadata { endpoint } = RawMetadata::read(source, node)?;
    if node.get("endpoint").is_none() {
        return Some(credential::default_metadata());
    }
    let Located { value, place } = endpoint?;
    let link_local = value.host().parse().is_ok_and(|ip| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    });
    if !(value.tls() || value.is_loopback() || link_local) {
        let hint = "remove `endpoint`, or use a loopback or link-local address";
        source.error(place, "a metadata service must be on this machine or its link", hint);
    }
    Some(value)
}

/// Reads the endpoint of a cloud service. The inner `None` is an invalid one, which is reported.
#[expect(clippy::unnecessary_wraps, reason = "a reader, and the key was written")]
fn service(source: &SourceFile, node: &Node, example: &str) -> Option<Option<Endpoint>> {
    let Some(Located { value, place }) = endpoint(source, node, example) else { return Some(None) };
    if !(value.tls() || value.is_loopback()) {
        source.error(place, "http:// is plaintext: anyone on the path can read secrets", "write https://");
    }
    Some(Some(value))
}
