//! How is a connection made? DNS and TCP by hyper-util, TLS by rustls with the built-in roots.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject},
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

use super::{Endpoint, stream::Stream};

/// The certificate authorities an upstream is trusted by.
#[derive(Clone)]
pub struct Roots(TlsConnector);

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
    /// The endpoint's host is no name that a certificate can hold.
    #[error("no certificate can name this host")]
    Host(#[from] InvalidDnsNameError),
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Why there is no connection. Nothing of a request was written.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host's name has no address.
    #[error("its name cannot be resolved")]
    Dns(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused the connection, or cannot be reached.
    #[error("it cannot be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// It took too long.
    #[error("connecting took too long")]
    Timeout,
}

/// Makes connections to one endpoint.
pub(super) struct Dialer {
    tcp: HttpConnector,
    uri: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Roots {
    /// The built-in roots, and those of `ca_file`.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, RootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        if let Some(path) = ca_file {
            let bad = |reason: String| RootsError::File { path: path.into(), reason };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
            let before = roots.len();
            for certificate in certificates {
                let certificate = certificate.map_err(|e| bad(e.to_string()))?;
                roots.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
            if roots.len() == before {
                return Err(bad("it holds no certificate".into()));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl Dialer {
    pub(super) fn new(endpoint: &Endpoint, roots: &Roots, timeout: Duration) -> Result<Self, RootsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let tls = if endpoint.tls() {
            Some((roots.0.clone(), ServerName::try_from(endpoint.host().to_owned())?))
        } else {
            None
        };
        let uri = Uri::builder()
            .scheme("tcp")
            .authority(authority(endpoint))
            .path_and_query("/")
            .build()
            .unwrap_or_default();
        Ok(Self { tcp, uri, tls, timeout })
    }

    /// A connection that is ready for HTTP, its TLS handshake done.
    pub(super) async fn dial(&self) -> Result<Stream, DialError> {
        timeout(self.timeout, self.dial_unbounded()).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn dial_unbounded(&self) -> Result<Stream, DialError> {
        let tcp = match self.tcp.clone().oneshot(self.uri.clone()).await {
            Ok(stream) => stream.into_inner(),
            // The connector's error is opaque but for its text.
            Err(error) if error.to_string().starts_with("dns") => return Err(DialError::Dns(error.into())),
            Err(error) => return Err(DialError::Connect(error.into())),
        };
        match &self.tls {
            None => Ok(Stream::plain(tcp)),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await.map_err(DialError::Tls)?;
                Ok(Stream::tls(tls))
            }
        }
    }
}

/// Host and port, the port always written: the connector knows no default for our scheme.
fn authority(endpoint: &Endpoint) -> String {
    if endpoint.host().contains(':') {
        format!("[{}]:{}", endpoint.host(), endpoint.port())
    } else {
        format!("{}:{}", endpoint.host(), endpoint.port())
    }
}
