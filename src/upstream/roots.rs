//! The certificate authorities that upstreams are trusted by.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore, client::WebPkiServerVerifier};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use crate::{chain::BoundedVerifier, pem, watch};

/// The certificate authorities an upstream is trusted by.
///
/// Its clones are one: where others take their place, new connections of all of them go by those.
#[derive(Clone)]
pub struct Roots(Arc<ArcSwap<Trust>>);

/// What trust comes to.
pub(super) struct Trust {
    /// Of the authorities besides the built-in ones.
    pub(super) digest: [u8; 32],
    pub(super) connector: TlsConnector,
    /// What the connector verifies certificates with.
    pub(super) verifier: Arc<BoundedVerifier<WebPkiServerVerifier>>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A `ca_file` cannot be read, or has something else than PEM certificates in it.
    #[error("cannot read certificates from {path}: {reason}")]
    File {
        /// The file.
        path: Box<Path>,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl Roots {
    /// The built-in roots, and those of `ca_file`.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, RootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let mut digest = Sha256::new();
        if let Some(path) = ca_file {
            let bad = |reason: String| RootsError::File { path: path.into(), reason };
            let pem = watch::read(path).map_err(|e| bad(e.to_string()))?;
            for certificate in pem::authorities(&pem).map_err(|e| bad(e.to_string()))? {
                digest.update(&certificate);
                roots.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let verifier = Arc::new(BoundedVerifier::new(verifier));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            // The same verifier as without this, and less of it.
            .with_custom_certificate_verifier(Arc::<BoundedVerifier<_>>::clone(&verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Trust { digest: digest.finalize().into(), connector, verifier }.into())
    }

    /// From now on these are trusted, and those only. Where they are the same as before, open connections stay.
    pub fn become_as(&self, other: &Self) {
        if self.0.load().digest != other.0.load().digest {
            self.0.store(other.0.load_full());
        }
    }

    /// What is trusted now.
    pub(super) fn now(&self) -> Arc<Trust> {
        self.0.load_full()
    }
}

impl From<Trust> for Roots {
    fn from(trust: Trust) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(trust)))
    }
}
