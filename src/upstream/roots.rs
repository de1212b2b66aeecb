//! The certificate authorities that are trusted for upstreams.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore, client::WebPkiServerVerifier};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use crate::{chain::BoundedVerifier, pem, watch};

/// The certificate authorities that are trusted for upstreams. Clones share them, so a replacement applies to the new
/// connections of all.
#[derive(Clone)]
pub struct Roots(Arc<ArcSwap<Trust>>);

/// The verifier, and the digest of the configured authorities.
pub(super) struct Trust {
    /// The digest of the authorities in addition to the built-in ones.
    pub(super) digest: [u8; 32],
    pub(super) connector: TlsConnector,
    /// The verifier of certificates.
    pub(super) verifier: Arc<BoundedVerifier<WebPkiServerVerifier>>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A `ca_file` cannot be read, or contains something other than PEM certificates.
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
    /// Loads the built-in roots and those of `ca_file`.
    ///
    /// # Errors
    /// If the file is not usable.
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
            // The default verifier, with bounded work.
            .with_custom_certificate_verifier(Arc::<BoundedVerifier<_>>::clone(&verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Trust { digest: digest.finalize().into(), connector, verifier }.into())
    }

    /// Replaces the trusted authorities. Open connections stay if they are the same.
    pub fn become_as(&self, other: &Self) {
        if self.0.load().digest != other.0.load().digest {
            self.0.store(other.0.load_full());
        }
    }

    /// Returns the current trust.
    pub(super) fn now(&self) -> Arc<Trust> {
        self.0.load_full()
    }
}

impl From<Trust> for Roots {
    fn from(trust: Trust) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(trust)))
    }
}
