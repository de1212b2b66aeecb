//! Connects to endpoints. DNS and TCP by hyper-util, perhaps through an egress proxy, TLS by rustls with the built-in
//! roots.

use std::{error::Error, io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, client::WebPkiServerVerifier, pki_types::ServerName};
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

use super::{
    Egress, Endpoint,
    egress::{Proxy, ProxyVariableError},
    stream::CountingStream,
    tunnel::{self, ProxyError},
};
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

/// Why there is no way to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// The environment names an egress proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyVariableError),
}

/// Why there is no connection. Nothing of a request was written.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host's name has no address.
    #[error("its name cannot be resolved")]
    Dns(#[source] Box<dyn Error + Send + Sync>),
    /// It refused the connection, or cannot be reached.
    #[error("it cannot be reached")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The egress proxy is no way to it.
    #[error("the egress proxy does not lead there: {0}")]
    Proxy(#[source] ProxyError),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The new connection closed, or brought bytes, before a byte of the request was written.
    #[error("it closes new connections, or speaks before it is spoken to")]
    Useless,
    /// It took too long.
    #[error("connecting took too long")]
    Timeout,
}

/// Makes connections to one endpoint.
pub(super) struct Dialer {
    tcp: HttpConnector,
    endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: Option<(Roots, ServerName<'static>)>,
    timeout: Duration,
}

impl DialError {
    /// Whether trying again at once is useless: a certificate that was wrong a moment ago still is.
    pub fn is_persistent(&self) -> bool {
        match self {
            // A connection that breaks during the handshake is no judgement about it.
            Self::Tls(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            Self::Proxy(error) => error.is_persistent(),
            Self::Dns(_) | Self::Connect(_) | Self::Useless | Self::Timeout => false,
        }
    }
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

impl Dialer {
    pub(super) fn new(endpoint: &Endpoint, egress: &Egress, timeout: Duration) -> Result<Self, DialerError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Of several addresses, each gets its share of it.
        tcp.set_connect_timeout(Some(timeout));
        let tls =
            if endpoint.tls() { Some((egress.roots.clone(), endpoint.server_name().clone())) } else { None };
        let proxy = egress.proxies.to(endpoint)?.cloned();
        Ok(Self { tcp, endpoint: endpoint.clone(), proxy, tls, timeout })
    }

    /// The egress proxy that is used, if any.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// A connection that is ready for HTTP, its TLS handshake done.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<CountingStream, DialError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let tcp = self.reach(deadline).await?;
        self.secure(tcp, deadline).await
    }

    /// The first half of [`Self::dial`]: DNS and TCP, and the egress proxy's consent.
    pub(super) async fn reach(&self, deadline: Instant) -> Result<TcpStream, DialError> {
        match &self.proxy {
            None => self.connect(&self.endpoint, deadline).await,
            Some(proxy) => self.through(proxy, deadline).await.map_err(DialError::Proxy),
        }
    }

    /// The second half of [`Self::dial`]: TLS, where the endpoint has it.
    pub(super) async fn secure(
        &self,
        tcp: TcpStream,
        deadline: Instant,
    ) -> Result<CountingStream, DialError> {
        let Some((roots, name)) = &self.tls else { return Ok(CountingStream::plain(tcp)) };
        let trust = roots.now();
        let handshake = timeout_at(deadline, trust.connector.connect(name.clone(), tcp)).await;
        let stream = handshake.map_err(|_| DialError::Timeout)?.map_err(DialError::Tls)?;
        Ok(CountingStream::tls(stream, trust.digest))
    }

    /// Whether the other end of a connection that was made by these authorities is still trusted.
    pub(super) fn trusts(&self, authorities: Option<&[u8; 32]>) -> bool {
        let now = self.tls.as_ref().map(|(roots, _)| roots.now().digest);
        now.as_ref() == authorities
    }

    async fn connect(&self, to: &Endpoint, deadline: Instant) -> Result<TcpStream, DialError> {
        let uri = Uri::builder().scheme("tcp").authority(to.host_and_port()).path_and_query("/").build();
        let connecting = self.tcp.clone().oneshot(uri.unwrap_or_default());
        match timeout_at(deadline, connecting).await.map_err(|_| DialError::Timeout)? {
            Ok(stream) => Ok(stream.into_inner()),
            Err(error) if is_timeout(&error) => Err(DialError::Timeout),
            // The connector's error is opaque but for its text.
            Err(error) if error.to_string().starts_with("dns") => Err(DialError::Dns(error.into())),
            Err(error) => Err(DialError::Connect(error.into())),
        }
    }

    async fn through(&self, proxy: &Proxy, deadline: Instant) -> Result<TcpStream, ProxyError> {
        let tcp = self.connect(&proxy.endpoint, deadline).await;
        let tcp = tcp.map_err(|error| ProxyError::Unreachable(error.into()))?;
        let opened = timeout_at(deadline, tunnel::open(tcp, proxy, &self.endpoint)).await;
        opened.unwrap_or(Err(ProxyError::Timeout))
    }
}

/// Whether the last address ran out of its share of the time.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
    io || error.source().is_some_and(is_timeout)
}
