//! Errors of attempts, which say how far an attempt got.

use std::{error::Error, io};

/// Why an attempt failed, by how far it got.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: not one byte of the request was written. Safe to repeat.
    #[error("cannot connect to upstream: {0}")]
    Dial(#[from] DialError),
    /// A pooled connection turned out to be closed before a byte of the request was written. Safe to repeat.
    #[error("the connection to upstream closed before the request was written")]
    Unsent,
    /// A pooled connection died after the request was written and before the first byte of an answer. Most likely upstream
    /// had closed it while idle, but that is not certain.
    #[error("a reused connection to upstream closed without an answer")]
    Stale,
    /// The request was written, but no complete answer came in time.
    #[error("upstream did not answer in time")]
    Timeout,
    /// The request was written, but the connection ended without an answer.
    #[error("upstream closed the connection without an answer")]
    Closed,
    /// The request was written, but the answer is not acceptable.
    #[error("invalid answer from upstream: {0}")]
    Invalid(InvalidAnswer),
}

/// Why an answer is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// It is not HTTP/1, or ambiguous.
    #[error("not HTTP")]
    Malformed,
    /// It is truncated.
    #[error("truncated")]
    Cut,
    /// Its body is too large.
    #[error("body too large")]
    TooLarge,
    /// It has a content coding that was not requested, so it cannot be inspected.
    #[error("unrequested Content-Encoding")]
    Encoded,
    /// It switches protocols or redirects, which is never followed.
    #[error("a redirect or protocol switch")]
    Status,
}

/// Why there is no connection. Nothing of a request was written.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host's name has no address.
    #[error("cannot resolve the host name")]
    Dns(#[source] Box<dyn Error + Send + Sync>),
    /// It refused the connection, or is unreachable.
    #[error("unreachable")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The egress proxy does not connect to it.
    #[error("the egress proxy cannot reach it: {0}")]
    Proxy(#[source] ProxyError),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The new connection was closed, or received bytes, before a byte of the request was written.
    #[error("it closes new connections, or sends data before the request")]
    Useless,
    /// It took too long.
    #[error("connecting timed out")]
    Timeout,
}

impl DialError {
    /// Whether an immediate retry is useless, as with an invalid certificate.
    pub fn is_persistent(&self) -> bool {
        match self {
            // A connection that breaks during the handshake says nothing about the certificate.
            Self::Tls(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            Self::Proxy(error) => error.is_persistent(),
            Self::Dns(_) | Self::Connect(_) | Self::Useless | Self::Timeout => false,
        }
    }
}

/// Why an egress proxy does not connect. Upstream has seen nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The proxy itself cannot be reached.
    #[error(transparent)]
    Unreachable(Box<DialError>),
    /// It requires credentials: 407.
    #[error("it requires a user and password (407): set them in HTTPS_PROXY")]
    Credentials,
    /// It refuses to connect to upstream, or cannot.
    #[error("it refused to connect to upstream ({0})")]
    Refused(u16),
    /// It closed the connection without an answer.
    #[error("it closed the connection")]
    Closed,
    /// It does not speak HTTP, or sends bytes after its answer, where only upstream may.
    #[error("its answer is not HTTP")]
    Malformed,
    /// It did not answer in time.
    #[error("it does not answer")]
    Timeout,
}

impl ProxyError {
    /// Whether an immediate retry is useless.
    pub(super) fn is_persistent(&self) -> bool {
        match self {
            Self::Unreachable(error) => error.is_persistent(),
            Self::Credentials => true,
            Self::Refused(status) => *status < 500,
            Self::Closed | Self::Malformed | Self::Timeout => false,
        }
    }
}
