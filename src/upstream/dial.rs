//! Connects to endpoints. DNS and TCP by hyper-util, perhaps through an egress proxy, TLS by rustls with the built-in
//! roots.

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

/// Why there is no way to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// The environment names an egress proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyVariableError),
}

/// Makes connections to one endpoint.
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
