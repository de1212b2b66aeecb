//! Why an attempt failed, and how far it got.

use std::{error::Error, io};

/// How far an attempt got before it failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: not one byte of the request was written. Safe to repeat.
    #[error("cannot connect to upstream: {0}")]
    Dial(#[from] DialError),
    /// A pooled connection was found closed before a byte of the request was written. Safe to repeat.
    #[error("the connection to upstream closed before the request was written")]
    Unsent,
    /// A pooled connection died after the request was written and before the first byte of an answer: most
    /// likely upstream had closed it while it was idle, but nobody can be sure.
    #[error("a reused connection to upstream closed without an answer")]
    Stale,
    /// The request was written; then no whole answer came in time.
    #[error("upstream did not answer in time")]
    Timeout,
    /// The request was written; then the connection ended without an answer.
    #[error("upstream closed the connection without an answer")]
    Closed,
    /// The request was written; what came back is not an acceptable answer.
    #[error("invalid answer from upstream: {0}")]
    Invalid(InvalidAnswer),
}

/// Why an answer is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// It is not HTTP/1, or could be read in two ways.
    #[error("not HTTP")]
    Malformed,
    /// It ended before it was complete.
    #[error("truncated")]
    Cut,
    /// Its body is longer than what was asked for may be.
    #[error("body too large")]
    TooLarge,
    /// It is in a coding that nobody asked for, so what it says cannot be looked at.
    #[error("unrequested Content-Encoding")]
    Encoded,
    /// It switches protocols or redirects: neither is ever followed.
    #[error("a redirect or protocol switch")]
    Status,
}

/// Why there is no connection. Nothing of a request was written.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host's name has no address.
    #[error("cannot resolve the host name")]
    Dns(#[source] Box<dyn Error + Send + Sync>),
    /// It refused the connection, or cannot be reached.
    #[error("unreachable")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The egress proxy is no way to it.
    #[error("the egress proxy cannot reach it: {0}")]
    Proxy(#[source] ProxyError),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The new connection closed, or brought bytes, before a byte of the request was written.
    #[error("it closes new connections, or sends data before the request")]
    Useless,
    /// It took too long.
    #[error("connecting timed out")]
    Timeout,
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

/// Why an egress proxy leads nowhere. Upstream has seen nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// There is no connection to the proxy itself.
    #[error(transparent)]
    Unreachable(Box<DialError>),
    /// It wants to know who asks: 407.
    #[error("it requires a user and password (407): set them in HTTPS_PROXY")]
    Credentials,
    /// It will not, or cannot, connect to upstream.
    #[error("it refused to connect to upstream ({0})")]
    Refused(u16),
    /// It closed the connection without an answer.
    #[error("it closed the connection")]
    Closed,
    /// It does not speak HTTP, or goes on after its answer, where only upstream may speak.
    #[error("its answer is not HTTP")]
    Malformed,
    /// It did not answer.
    #[error("it does not answer")]
    Timeout,
}

impl ProxyError {
    /// Whether asking again at once is useless.
    pub(super) fn is_persistent(&self) -> bool {
        match self {
            Self::Unreachable(error) => error.is_persistent(),
            Self::Credentials => true,
            Self::Refused(status) => *status < 500,
            Self::Closed | Self::Malformed | Self::Timeout => false,
        }
    }
}
