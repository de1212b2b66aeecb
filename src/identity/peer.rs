//! Who is at the other end of the connection, as the kernel tells it?
//!
//! A [`Peer`] is made once, when a connection is accepted; nothing a caller sends can change it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is known of a connection before its first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The other end.
    pub address: PeerAddress,
    /// Whether this listener accepts bearer tokens. Elsewhere they are not even looked at.
    pub bearer: bool,
    /// Whether only this machine can reach that listener. The other end's address does not tell: a relay on this
    /// machine may stand between.
    pub local: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The process at the other end of a Unix socket when it connected (`SO_PEERCRED`).
    Unix {
        /// Its effective user id.
        uid: u32,
        /// Its effective group id. Supplementary groups do not count.
        gid: u32,
    },
}

impl PeerAddress {
    /// The IP address. `None` on a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }
}
