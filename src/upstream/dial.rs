//! Connects to endpoints: DNS and TCP by hyper-util, TLS by rustls, through an egress proxy if configured.

use std::{error::Error, io, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tower::ServiceExt;

use super::{
    DialError, Egress, Endpoint, ProxyError, Roots,
    egress::{Proxy, ProxyVariableError},
    stream::CountingStream,
    tunnel,
};

/// Why an endpoint has no usable route.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// The environment names an egress proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyVariableError),
}

/// Connects to one endpoint.
pub(super) struct Dialer {
    tcp: HttpConnector,
    endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: Option<(Roots, ServerName<'static>)>,
    timeout: Duration,
}

impl Dialer {
    pub(super) fn new(endpoint: &Endpoint, egress: &Egress, timeout: Duration) -> Result<Self, DialerError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Several addresses share this time.
        tcp.set_connect_timeout(Some(timeout));
        let tls =
            if endpoint.tls() { Some((egress.roots.clone(), endpoint.server_name().clone())) } else { None };
        let proxy = egress.proxies.to(endpoint)?.cloned();
        Ok(Self { tcp, endpoint: endpoint.clone(), proxy, tls, timeout })
    }

    /// Returns the egress proxy, if any.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Returns a connection that is ready for HTTP.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<CountingStream, DialError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let tcp = self.reach(deadline).await?;
        self.secure(tcp, deadline).await
    }

    /// Does the first half of [`Self::dial`]: DNS, TCP and the egress proxy's `CONNECT`.
    pub(super) async fn reach(&self, deadline: Instant) -> Result<TcpStream, DialError> {
        match &self.proxy {
            None => self.connect(&self.endpoint, deadline).await,
            Some(proxy) => self.through(proxy, deadline).await.map_err(DialError::Proxy),
        }
    }

    /// Does the second half of [`Self::dial`]: TLS for an `https://` endpoint.
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

    /// Whether a connection that was made with these authorities is still trusted.
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
            // Only the text of the connector's error says what failed.
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

/// Whether the last address used up its share of the time.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
    io || error.source().is_some_and(is_timeout)
}
