//! Which user owns the other end of a TCP connection on this machine? A question to the kernel and its answer.
//!
//! Both are bytes here (`NETLINK_SOCK_DIAG`); who sends and receives them is `server`'s matter. What the kernel
//! tells is who *made* the socket, which has limits that no care here removes: a process may hand its socket to
//! another one, and a user outside of this user namespace is told as 65534 ([`NOBODY`]).

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{DecodeError, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN},
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};

/// What the kernel calls users that it cannot tell here: `/proc/sys/kernel/overflowuid`.
pub const NOBODY: u32 = 65534;

/// The two ends of a connection, seen from the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    from: SocketAddr,
    to: SocketAddr,
}

/// Why the owner is not known.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The kernel refuses to tell.
    #[error("the kernel does not tell the owner of a socket")]
    Refused(#[source] std::io::Error),
    /// The caller has closed its end: nobody owns it any more.
    #[error("the socket was closed")]
    Closed,
    /// It is the owner of another socket that the kernel told.
    #[error("the kernel told of another socket")]
    Other,
    /// The answer cannot be read.
    #[error("the kernel's answer cannot be read")]
    Unreadable(#[from] DecodeError),
}

impl Ends {
    /// The ends of a connection from `peer` to `local`. `None` where the peer is not on this machine.
    pub fn of(peer: SocketAddr, local: SocketAddr) -> Option<Self> {
        // A caller that speaks IPv4 to an IPv6 listener has an IPv4 socket.
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (from, to) = (plain(peer), plain(local));
        (from.ip().is_loopback() && from.is_ipv4() == to.is_ipv4()).then_some(Self { from, to })
    }

    /// The question, as a netlink datagram.
    pub fn question(&self) -> Vec<u8> {
        let request = InetRequest {
            family: if self.from.is_ipv4() { AF_INET } else { AF_INET6 },
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: SocketId {
                source_address: self.from.ip(),
                source_port: self.from.port(),
                destination_address: self.to.ip(),
                destination_port: self.to.port(),
                interface_id: 0,
                // Any.
                cookie: [0xff; 8],
            },
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    /// The owner's user id, from the kernel's answer.
    ///
    /// # Errors
    /// Where it is not the owner of exactly this end; see [`OwnerError`].
    pub fn owner(&self, answer: &[u8]) -> Result<u32, OwnerError> {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(answer)?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                self.owner_in(&response.header)
            }
            NetlinkPayload::Error(error) => {
                let error = error.to_io();
                // No socket has these ends: it is gone.
                Err(if error.kind() == std::io::ErrorKind::NotFound {
                    OwnerError::Closed
                } else {
                    OwnerError::Refused(error)
                })
            }
            _ => Err(OwnerError::Other),
        }
    }

    fn owner_in(&self, found: &InetResponseHeader) -> Result<u32, OwnerError> {
        let SocketId { source_address, source_port, destination_address, destination_port, .. } =
            &found.socket_id;
        let plain = |ip: &IpAddr, port: &u16| SocketAddr::new(ip.to_canonical(), *port);
        let ends = (plain(source_address, source_port), plain(destination_address, destination_port));
        // Where no connection has these ends the kernel falls back on whoever listens on the caller's port.
        if ends != (self.from, self.to) || found.state == TCP_LISTEN {
            return Err(OwnerError::Other);
        }
        // A socket that was closed has no inode, and the kernel says root owns it.
        if found.inode == 0 { Err(OwnerError::Closed) } else { Ok(found.uid) }
    }
}
