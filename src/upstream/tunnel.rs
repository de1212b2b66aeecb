//! Opens tunnels through egress proxies with `CONNECT`.
//!
//! It uses hyper, which is strict about the answer. hyper-util's `Tunnel` would hide the status, which an operator needs to
//! have a host added to the proxy's list.

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

/// Asks the proxy at the other end of `tcp` to connect to the endpoint. Returns that connection, on which nothing has been
/// sent.
pub(super) async fn open(tcp: TcpStream, proxy: &Proxy, to: &Endpoint) -> Result<TcpStream, ProxyError> {
    let (mut sender, connection) =
        Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(tcp)).await.map_err(|e| failure(&e))?;
    let mut connection = pin!(connection.without_shutdown());
    let mut answer = pin!(sender.send_request(ask(proxy, &to.host_and_port())?));
    let mut released: Option<Parts<TokioIo<TcpStream>>> = None;
    // hyper releases the connection with the answer, unless it ends earlier.
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
    // Every endpoint's host is valid in both.
    request.body(Empty::new()).map_err(|_| ProxyError::Malformed)
}

fn failure(error: &hyper::Error) -> ProxyError {
    if error.is_parse() { ProxyError::Malformed } else { ProxyError::Closed }
}

/// The maximum head of a proxy's answer, in bytes: the smallest that hyper allows.
const MAX_HEAD: usize = 8 * 1024;
