//! Automatic choice of a credential source: the first of pod identity, federation, environment, profile and metadata.
//!
//! The first source that exists is used even if it fails: there is no fallback to a weaker one. The sources examined are
//! kept, so that people can see why.

use super::{
    DEFAULT_KEY_LIFETIME, KnownEndpoints, MAX_KEY_LIFETIME, Oidc, OidcSts, Profile, SESSION_NAME, Source,
    SourceCandidate, environment, environment::variable, metadata, pod_identity, profile,
};
use crate::upstream::Endpoint;

/// Returns the sources that exist according to the environment and files, without asking any.
pub fn find_candidates(known: &KnownEndpoints) -> Vec<SourceCandidate> {
    first(known).1
}

/// Returns the first source that exists, and the sources examined.
pub(super) fn first(known: &KnownEndpoints) -> (Source, Vec<SourceCandidate>) {
    let mut looks = Vec::new();
    for (kind, look) in SOURCES {
        match look(known) {
            Ok(source) => {
                looks.push(SourceCandidate { source: kind, passed_over: None });
                return (source, looks);
            }
            Err(reason) => looks.push(SourceCandidate { source: kind, passed_over: Some(reason) }),
        }
    }
    looks.push(SourceCandidate { source: "metadata", passed_over: None });
    (Source::Metadata(metadata::endpoint()), looks)
}

fn pod_identity(_: &KnownEndpoints) -> Result<Source, String> {
    for name in [pod_identity::URI, pod_identity::TOKEN_FILE] {
        set(name)?;
    }
    Ok(Source::PodIdentity)
}

fn oidc(known: &KnownEndpoints) -> Result<Source, String> {
    let (idp_id, id_token_file) = (set("HUAWEICLOUD_SDK_IDP_ID")?, set("HUAWEICLOUD_SDK_ID_TOKEN_FILE")?);
    let iam_endpoint = endpoint("HUAWEICLOUD_SDK_IAM_ENDPOINT", known.iam.as_ref())?;
    Ok(Source::Oidc(Oidc {
        iam_endpoint,
        idp_id,
        id_token_file: id_token_file.into(),
        duration: MAX_KEY_LIFETIME,
    }))
}

fn oidc_sts(known: &KnownEndpoints) -> Result<Source, String> {
    Ok(Source::OidcSts(OidcSts {
        provider_urn: set("HUAWEICLOUD_OIDC_PROVIDER_URN")?,
        agency_urn: set("HUAWEICLOUD_OIDC_AGENCY_URN")?,
        id_token_file: set("HUAWEICLOUD_OIDC_TOKEN_FILE")?.into(),
        sts_endpoint: endpoint("HUAWEICLOUD_SDK_STS_ENDPOINT", known.sts.as_ref())?,
        session_name: set("HUAWEICLOUD_OIDC_SESSION_NAME").unwrap_or_else(|_| SESSION_NAME.into()),
        duration: DEFAULT_KEY_LIFETIME,
    }))
}

fn environment(_: &KnownEndpoints) -> Result<Source, String> {
    set(environment::ACCESS_KEY).map(|_| Source::Environment)
}

fn profile(known: &KnownEndpoints) -> Result<Source, String> {
    let path = profile::default_path().ok_or("no home directory")?;
    if !path.exists() {
        return Err(format!("no file {}", path.display()));
    }
    Ok(Source::Profile(Profile { path, section: profile::SECTION.into(), iam_endpoint: known.iam.clone() }))
}

fn set(name: &'static str) -> Result<String, String> {
    variable(name).map_err(|error| error.to_string())
}

/// Returns the endpoint that a variable names, or else the known one. Never guesses a region.
fn endpoint(name: &'static str, known: Option<&Endpoint>) -> Result<Endpoint, String> {
    let Ok(text) = set(name) else {
        let unknown = || format!("{name} is not set, and no region to derive the endpoint");
        return known.cloned().ok_or_else(unknown);
    };
    let endpoint = Endpoint::parse(&text).ok().filter(|endpoint| endpoint.tls() || endpoint.is_loopback());
    endpoint.ok_or_else(|| format!("{name} is not an https:// endpoint"))
}

type Search = fn(&KnownEndpoints) -> Result<Source, String>;
/// The sources in order. The metadata service comes last, because only a request shows whether it exists.
const SOURCES: [(&str, Search); 5] = [
    ("pod_identity", pod_identity),
    ("oidc", oidc),
    ("oidc_sts", oidc_sts),
    ("environment", environment),
    ("profile", profile),
];
