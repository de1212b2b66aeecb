//! Tunnels through egress proxies. By one `CONNECT`, on a connection that then leads to upstream.
//!
//! hyper speaks it, which is strict about the answer; hyper-util's `Tunnel` would not tell a refusal from nonsense,
//! and whoever has to get a host onto the proxy's list needs the status.

use std::pin::pin;

use bytes::Bytes;
use http::{
    Method, Request,
    header::{HOST, PROXY_AUTHORIZATION},
};
use http_body_util::Empty;
use hyper::client::conn::http1::{Builder, Parts};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Endpoint, egress::Proxy, error::ProxyError};

/// Asks the proxy at the other end of `tcp` for a connection to the endpoint. What comes back is that connection,
/// on which nothing has been said.
pub(super) async fn open(tcp: TcpStream, proxy: &Proxy, to: &Endpoint) -> Result<TcpStream, ProxyError> {
    let (mut sender, connection) =
        Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(tcp)).await.map_err(|e| failure(&e))?;
    let mut connection = pin!(connection.without_shutdown());
    let mut answer = pin!(sender.send_request(ask(proxy, &to.host_and_port())?));
    let mut released: Option<Parts<TokioIo<TcpStream>>> = None;
    // The connection is released in the moment the answer says so, or dies before that.
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer.map_err(|e| failure(&e))?,
            parts = &mut connection, if released.is_none() => released = Some(parts.map_err(|e| failure(&e))?),
        }
    };
    match answer.status().as_u16() {
        200..=299 => {}
        407 => return Err(ProxyError::Credentials),
        status => return Err(ProxyError::Refused(status)),
    }
    let Parts { io, read_buf, .. } = match released {
        Some(parts) => parts,
        None => connection.await.map_err(|e| failure(&e))?,
    };
    if read_buf.is_empty() { Ok(io.into_inner()) } else { Err(ProxyError::Malformed) }
}

fn ask(proxy: &Proxy, target: &str) -> Result<Request<Empty<Bytes>>, ProxyError> {
    let mut request = Request::builder().method(Method::CONNECT).uri(target).header(HOST, target);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    // An endpoint's host is in the alphabet of both.
    request.body(Empty::new()).map_err(|_| ProxyError::Malformed)
}

fn failure(error: &hyper::Error) -> ProxyError {
    if error.is_parse() { ProxyError::Malformed } else { ProxyError::Closed }
}

/// The largest head of a proxy's answer, in bytes: as small as hyper allows.
const MAX_HEAD: usize = 8 * 1024;
