//! How does a TLS connection begin? The handshake, and what the caller's certificate says.
//!
//! What is shown and asked for is the configuration's (`config::tls`); which caller a certificate stands for is
//! `identity`'s. A handshake that fails has no request, so it leaves a line in the log and no record.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    clock,
    identity::{Certificate, CertificateError, Peer},
    log::LIMITED,
    metrics::Handshake,
};

/// A connection after its handshake.
pub(super) struct Accepted {
    pub(super) stream: TlsStream<TcpStream>,
    /// `None` where the listener asks for none.
    pub(super) certificate: Option<Result<Certificate, CertificateError>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("it took too long")]
    Timeout,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// As it is counted.
    pub(super) fn kind(&self) -> Handshake {
        match self {
            Self::Timeout => Handshake::Timeout,
            Self::Failed(error) if error.kind() == io::ErrorKind::InvalidData => Handshake::Rejected,
            Self::Failed(_) => Handshake::HungUp,
        }
    }
}

/// Shakes hands with a caller.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<Accepted, HandshakeError> {
    let stream = match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(result) => result?,
        Err(_) => return Err(HandshakeError::Timeout),
    };
    // The caller's own certificate comes first; the chain was verified.
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = chain.map(|chain| Certificate::of_chain(chain, clock::now()));
    Ok(Accepted { stream, certificate })
}

/// Logs why a caller got no connection. One that hangs up, as a TCP health check does, is nothing to speak of.
pub(super) fn log_failure(peer: &Peer, error: &HandshakeError) {
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
