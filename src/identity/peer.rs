//! What may identify a caller: the peer of its connection, as reported by the kernel and the TLS handshake, and its request.
//! A [`Peer`] is created when a connection is accepted; nothing that the caller sends can change it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::certificate::{Certificate, CertificateError};

/// What is known of a connection before the first byte of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The other end.
    pub address: PeerAddress,
    /// Its client certificate with a verified chain. `None` if the listener requests none.
    pub certificate: Option<Result<Certificate, CertificateError>>,
    /// Whether the listener accepts bearer tokens. If not, a request with one is refused.
    pub bearer: bool,
    /// Whether only this machine can reach the listener. The other end's address does not tell, because a relay on this
    /// machine may be in between.
    pub local: bool,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// TCP.
    Tcp {
        /// An IP address and port.
        address: SocketAddr,
        /// The user id of the other end's owner, if it is on this machine.
        owner: Option<u32>,
    },
    /// The process at the other end of a Unix socket when it connected (`SO_PEERCRED`).
    Unix {
        /// Its effective user id.
        uid: u32,
        /// Its effective group id.
        gid: u32,
        /// Its supplementary groups (`SO_PEERGROUPS`).
        groups: Arc<[u32]>,
    },
}

/// The parts of a request that may identify its caller.
#[derive(Clone, Copy)]
pub struct Presented<'r> {
    /// The other end of the connection.
    pub peer: &'r Peer,
    /// Its method.
    pub method: &'r str,
    /// Its raw target, as on the request line.
    pub target: &'r str,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// The SHA-256 of its body. `None` if it has none, or it is not read yet.
    pub body: Option<[u8; 32]>,
    /// When it came.
    pub now: DateTime<Utc>,
}

/// Formats as `127.0.0.1:40000`, or `uid:1001` on a Unix socket.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => address.fmt(f),
            Self::Unix { uid, .. } => write!(f, "uid:{uid}"),
        }
    }
}

impl PeerAddress {
    /// Returns the IP address. `None` on a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { address, .. } => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }
}
