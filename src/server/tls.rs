//! How does a TLS connection begin? The handshake, and what the caller's certificate says.
//!
//! What is shown and asked for is the configuration's (`config::tls`); which caller a certificate stands for is
//! `identity`'s. A handshake that fails has no request, so it leaves a line in the log and no record.

use std::{future::poll_fn, io, os::fd::AsRawFd, pin::pin, sync::Arc, task::Poll, time::Duration};

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{accept::ListenerContext, connection::has_unseen, limiter::Permit, state::Order};
use crate::{
    clock,
    identity::{Certificate, Peer},
    log::LIMITED,
    metrics::{Cut, Handshake},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("it took too long")]
    Timeout,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// As it is counted.
    fn kind(&self) -> Handshake {
        match self {
            Self::Timeout => Handshake::Timeout,
            Self::Failed(error) if error.kind() == io::ErrorKind::InvalidData => Handshake::Rejected,
            Self::Failed(_) => Handshake::HungUp,
        }
    }
}

/// Shakes hands with a caller, which makes its certificate part of its peer. `None` where there is no connection.
pub(super) async fn accept(
    stream: TcpStream,
    peer: Peer,
    context: &ListenerContext,
    permit: &Permit,
) -> Option<(TlsStream<TcpStream>, Arc<Peer>)> {
    let Some(config) = context.in_force.load().tls.get(&peer.listener).cloned() else {
        tracing::error!(target: LIMITED, listener = %peer.listener, "a listener has lost its TLS, which should be impossible");
        return None;
    };
    let socket = stream.as_raw_fd();
    let mut handshake = pin!(shake_hands(stream, config, context.limits.header_timeout));
    let shaken = poll_fn(|cx| {
        if let Poll::Ready(shaken) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(shaken));
        }
        if permit.state.poll_order(cx) != Order::Leave {
            return Poll::Pending;
        }
        if has_unseen(socket) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    });
    match shaken.await {
        Some(Ok(stream)) => {
            // The caller's own certificate comes first; the chain was verified.
            let chain = stream.get_ref().1.peer_certificates();
            let certificate = chain.map(|chain| Certificate::of_chain(chain, clock::now()));
            Some((stream, Arc::new(Peer { certificate, ..peer })))
        }
        Some(Err(error)) => {
            context.limiter.counts().handshake_failed(&peer.listener, error.kind());
            log_failure(&peer, &error);
            None
        }
        None => {
            context.limiter.counts().cut(Cut::Crowded);
            None
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(HandshakeError::Timeout),
    }
}

/// Logs why a caller got no connection. One that hangs up, as a TCP health check does, is nothing to speak of.
fn log_failure(peer: &Peer, error: &HandshakeError) {
    let Peer { listener, address, .. } = peer;
    match error.kind() {
        Handshake::HungUp => {
            tracing::debug!(target: LIMITED, %listener, ?address, %error, "a caller hung up during the TLS handshake");
        }
        Handshake::Rejected | Handshake::Timeout => {
            tracing::info!(target: LIMITED, %listener, ?address, %error, "a TLS handshake failed");
        }
    }
}
