//! Creates the provider of each source. The provider of `auto` is here, too: it delegates to the source that it finds.

use std::{path::PathBuf, sync::Arc};

use super::{
    KnownEndpoints, Provide, ProvideError, ProvideFuture, Provided, ProviderContext, Source, SourceCandidate,
    agency, auto, environment,
    exchange::{CLOUD_TIMEOUT, Exchange},
    files, iam_password, metadata, oidc, oidc_sts, pod_identity, profile, read, token_file,
};
use crate::{upstream::DialerError, watch};

impl Source {
    /// Checks what is on this machine, as its provider reads it, without asking any endpoint.
    ///
    /// # Errors
    /// The errors of its provider.
    pub fn examine(&self) -> Result<(), ProvideError> {
        match self {
            Self::Environment => environment::examine(),
            Self::Files { access_key, secret_key, security_token } => {
                let files = files::Files::new(access_key.clone(), secret_key.clone(), security_token.clone());
                files.read().map(drop)
            }
            Self::Profile(settings) => settings.examine(),
            Self::PodIdentity => pod_identity::examine(),
            Self::Oidc(settings) => oidc::examine(settings),
            Self::OidcSts(sts) => read::token(&sts.id_token_file).map(drop),
            Self::IamPassword(password) => read::password(&password.password_file).map(drop),
            Self::TokenFile(path) => token_file::TokenFile(path.clone()).read().map(drop),
            Self::Auto(known) => auto::first(known).0.examine(),
            Self::Metadata(_) | Self::Agency(_) => Ok(()),
        }
    }

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
            Self::Profile(settings) => {
                let provider_context = provider_context.clone();
                Box::new(profile::Profile { settings, provider_context, id_token_file: None })
            }
            Self::Metadata(endpoint) => {
                Box::new(metadata::Metadata::new(exchange(&endpoint, metadata::TIMEOUT)?))
            }
            Self::PodIdentity => Box::new(pod_identity::PodIdentity(provider_context.clone())),
            Self::Oidc(settings) => {
                let exchange = exchange(&settings.iam_endpoint, CLOUD_TIMEOUT)?;
                Box::new(oidc::Oidc { exchange, settings })
            }
            Self::OidcSts(settings) => {
                let exchange = exchange(&settings.sts_endpoint, CLOUD_TIMEOUT)?;
                Box::new(oidc_sts::OidcSts { exchange, settings })
            }
            Self::Agency(settings) => {
                let base = provider_context.bases.get(&settings.base).cloned();
                let exchange = exchange(&settings.sts_endpoint, CLOUD_TIMEOUT)?;
                Box::new(agency::Agency { exchange, base, settings })
            }
            Self::IamPassword(settings) => {
                let exchange = exchange(&settings.iam_endpoint, CLOUD_TIMEOUT)?;
                Box::new(iam_password::IamPassword { exchange, settings })
            }
            Self::TokenFile(path) => Box::new(token_file::TokenFile(path)),
            Self::Auto(known) => Box::new(Auto::new(known, provider_context.clone())),
        })
    }
}

struct Auto {
    known: KnownEndpoints,
    provider_context: ProviderContext,
    found: Option<Box<dyn Provide>>,
    candidates: Arc<[SourceCandidate]>,
}

impl Auto {
    fn new(known: KnownEndpoints, provider_context: ProviderContext) -> Self {
        Self { known, provider_context, found: None, candidates: Arc::default() }
    }

    async fn credential(&mut self) -> Result<Provided, ProvideError> {
        if let Some(found) = &mut self.found {
            return found.provide().await;
        }
        let known = self.known.clone();
        let (source, mut looks) = read::off_thread(move || Ok(auto::first(&known))).await?;
        let mut provider = source.provider(&self.provider_context)?;
        read::wait_until_settled(&mut watch::Files::new(provider.files())).await?;
        let result = match provider.provide().await {
            // Only a request shows whether there is a metadata service. It may exist the next time.
            Err(ProvideError::Unanswered { .. }) if matches!(source, Source::Metadata(_)) => {
                if let Some(last) = looks.last_mut() {
                    last.passed_over = Some("no such service responds here".into());
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
            // The file may be created later.
            None => profile::default_path().into_iter().collect(),
        }
    }

    fn candidates(&self) -> Arc<[SourceCandidate]> {
        Arc::clone(&self.candidates)
    }
}

fn told(looks: &[SourceCandidate]) -> String {
    let tell = |look: &SourceCandidate| {
        format!("{}: {}", look.source, look.passed_over.as_deref().unwrap_or("taken"))
    };
    looks.iter().map(tell).collect::<Vec<_>>().join("; ")
}
