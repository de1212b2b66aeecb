//! Automatic choice of a credential source. The first of pod identity, federation, environment, profile and metadata.
//!
//! The first that is there is the one, also when it fails: it is not given up for a weaker one. What was looked at
//! is kept, so that people can see why.

use std::{path::PathBuf, sync::Arc};

use super::{
    Provide, ProvideError, ProvideFuture, Provided, ProviderContext, Source, environment,
    environment::variable,
    files, metadata, pod_identity, profile,
    refresh::wait_until_settled,
    source::{DEFAULT_KEY_LIFETIME, MAX_KEY_LIFETIME, Oidc, OidcSts, SESSION_NAME},
};
use crate::{upstream::Endpoint, watch};

/// The first source that is there.
pub(super) struct Auto {
    known: KnownEndpoints,
    provider_context: ProviderContext,
    found: Option<Box<dyn Provide>>,
    candidates: Arc<[SourceCandidate]>,
}

/// A source that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCandidate {
    /// Its kind, as in the configuration.
    pub source: &'static str,
    /// Why it was passed over. `None` where it is the one.
    pub passed_over: Option<String>,
}

/// The endpoints that are known where the environment does not name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownEndpoints {
    /// IAM.
    pub iam: Option<Endpoint>,
    /// STS.
    pub sts: Option<Endpoint>,
}

impl Auto {
    pub(super) fn new(known: KnownEndpoints, provider_context: ProviderContext) -> Self {
        Self { known, provider_context, found: None, candidates: Arc::default() }
    }

    async fn credential(&mut self) -> Result<Provided, ProvideError> {
        if let Some(found) = &mut self.found {
            return found.provide().await;
        }
        let known = self.known.clone();
        let (source, mut looks) = files::off_thread(move || Ok(first(&known))).await?;
        let mut provider = source.provider(&self.provider_context)?;
        wait_until_settled(&mut watch::Files::new(provider.files())).await?;
        let result = match provider.provide().await {
            // Whether there is a metadata service, only asking it tells; it may be there the next time.
            Err(ProvideError::Unanswered { .. }) if matches!(source, Source::Metadata(_)) => {
                if let Some(last) = looks.last_mut() {
                    last.passed_over = Some("no such service answers here".into());
                }
                Err(ProvideError::Nowhere(told(&looks)))
            }
            result => {
                self.found = Some(provider);
                result
            }
        };
        self.candidates = looks.into();
        result
    }
}

impl Provide for Auto {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.credential())
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.found {
            Some(found) => found.files(),
            // It may be made.
            None => profile::default_path().into_iter().collect(),
        }
    }

    fn candidates(&self) -> Arc<[SourceCandidate]> {
        Arc::clone(&self.candidates)
    }
}

/// What is there now, by the environment and the files alone: nothing is asked.
pub fn find_candidates(known: &KnownEndpoints) -> Vec<SourceCandidate> {
    first(known).1
}

/// Whether the first source that is there is what it should be.
pub(super) fn examine(known: &KnownEndpoints) -> Result<(), ProvideError> {
    first(known).0.examine()
}

/// The first source that is there, and what was looked at to find it.
fn first(known: &KnownEndpoints) -> (Source, Vec<SourceCandidate>) {
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
    let path = profile::default_path().ok_or("there is no home directory to look in")?;
    if !path.exists() {
        return Err(format!("there is no file {}", path.display()));
    }
    Ok(Source::Profile { path, section: profile::SECTION.into(), iam_endpoint: known.iam.clone() })
}

fn set(name: &'static str) -> Result<String, String> {
    variable(name).map_err(|error| error.to_string())
}

/// The endpoint that a variable names, or else the one that is known. Never one in a region of our own choice.
fn endpoint(name: &'static str, known: Option<&Endpoint>) -> Result<Endpoint, String> {
    let Ok(text) = set(name) else {
        let unknown = || format!("{name} is not set, and no region is known to tell the endpoint by");
        return known.cloned().ok_or_else(unknown);
    };
    let endpoint = Endpoint::parse(&text).ok().filter(|endpoint| endpoint.tls() || endpoint.is_loopback());
    endpoint.ok_or_else(|| format!("{name} is not an https:// endpoint"))
}

fn told(looks: &[SourceCandidate]) -> String {
    let tell = |look: &SourceCandidate| {
        format!("{}: {}", look.source, look.passed_over.as_deref().unwrap_or("taken"))
    };
    looks.iter().map(tell).collect::<Vec<_>>().join("; ")
}

type Search = fn(&KnownEndpoints) -> Result<Source, String>;
/// In the order in which they are looked for; the metadata service comes last, because it has to be asked.
const SOURCES: [(&str, Search); 5] = [
    ("pod_identity", pod_identity),
    ("oidc", oidc),
    ("oidc_sts", oidc_sts),
    ("environment", environment),
    ("profile", profile),
];
