//! TLS handshakes with callers.
//!
//! `config::tls` defines which certificate is shown and which is requested; `identity` maps a certificate to a caller. A
//! failed handshake has no request, so it leaves a log line and no record.

mod session;

use std::{io, os::fd::AsRawFd, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep, timeout_at},
};

use super::{caller_stream::has_unseen, context::ListenerContext, limiter::Permit};
use crate::{
    chain::in_words,
    clock,
    identity::{Certificate, Peer},
    limit::ByteReservation,
    log::LIMITED,
    metrics::{CutReason, Handshake},
};
use session::Session;
pub(super) use session::TlsStream;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("timed out")]
    Timeout,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// Returns the kind under which it is counted.
    fn kind(&self) -> Handshake {
        match self {
            Self::Timeout => Handshake::Timeout,
            Self::Failed(error) if error.kind() == io::ErrorKind::InvalidData => Handshake::Rejected,
            Self::Failed(_) => Handshake::HungUp,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Timeout => self.to_string(),
            Self::Failed(error) => in_words(error),
        }
    }
}

/// A connection whose handshake is complete, on its way to its worker.
pub(super) struct Accepted {
    socket: std::net::TcpStream,
    session: Session,
    pub(super) peer: Arc<Peer>,
}

impl Accepted {
    /// Returns the stream, on the current runtime.
    pub(super) fn stream(self) -> io::Result<TlsStream> {
        Ok(TlsStream { socket: TcpStream::from_std(self.socket)?, session: self.session })
    }
}

/// Performs the handshake and adds the caller's certificate to its peer. Returns `None` if it fails.
pub(super) async fn accept(
    mut socket: TcpStream,
    peer: Peer,
    context: &ListenerContext,
    permit: &Permit,
) -> Option<Accepted> {
    let Some(config) = context.in_force.load().tls.get(&peer.listener).map(|tls| Arc::clone(&tls.config))
    else {
        tracing::error!(target: LIMITED, listener = %peer.listener, "a listener has lost its TLS, which should be impossible");
        return None;
    };
    match handshake(&mut socket, config, context, permit).await {
        Ok(Some(session)) => {
            let chain = session.peer_certificates();
            let certificate = chain.map(|chain| Certificate::of_chain(chain, clock::now()));
            let peer = Arc::new(Peer { certificate, ..peer });
            Some(Accepted { socket: socket.into_std().ok()?, session, peer })
        }
        Ok(None) => {
            context.limiter.counts().cut(CutReason::Crowded);
            None
        }
        Err(error) => {
            context.limiter.counts().handshake_failed(&peer.listener, error.kind());
            log_failure(&peer, &error);
            None
        }
    }
}

/// Performs the handshake. Returns `None` if another connection needs the room.
async fn handshake(
    socket: &mut TcpStream,
    config: Arc<ServerConfig>,
    context: &ListenerContext,
    permit: &Permit,
) -> Result<Option<Session>, HandshakeError> {
    let deadline = Instant::now() + context.limits.header_timeout;
    // Set while it waits, too: the oldest are closed first, and those hold the memory.
    permit.state.hold(true);
    let room = tokio::select! {
        room = timeout_at(deadline, room(context)) => room.map_err(|_| HandshakeError::Timeout)?,
        () = permit.left() => return Ok(None),
    };
    let (mut session, descriptor) = (Session::new(config)?, socket.as_raw_fd());
    let left = async {
        permit.left().await;
        // A handshake that makes progress is not cut off.
        while has_unseen(descriptor) {
            yield_now().await;
        }
    };
    tokio::select! {
        shaken = timeout_at(deadline, session.handshake(socket)) => {
            shaken.map_err(|_| HandshakeError::Timeout)??;
        }
        () = left => return Ok(None),
    }
    permit.state.hold(false);
    drop(room);
    Ok(Some(session))
}

/// Waits for handshake memory that no call needs.
async fn room(context: &ListenerContext) -> ByteReservation {
    loop {
        if let Some(taken) = context.limiter.room().try_take(HANDSHAKE_BYTES) {
            return taken;
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Logs why a handshake failed, unless the caller hung up, as TCP health checks do.
fn log_failure(peer: &Peer, error: &HandshakeError) {
    let Peer { listener, address, .. } = peer;
    let (kind, error) = (error.kind(), error.in_words());
    match kind {
        Handshake::HungUp => {
            tracing::debug!(target: LIMITED, %listener, %address, error, "a caller disconnected during the TLS handshake");
        }
        Handshake::Rejected | Handshake::Timeout => {
            tracing::info!(target: LIMITED, %listener, %address, error, "TLS handshake failed");
        }
    }
}

/// The maximum memory of a handshake: an unfinished message and what is derived from it.
const HANDSHAKE_BYTES: usize = 48 * 1024;
const POLL_INTERVAL: Duration = Duration::from_millis(10);
