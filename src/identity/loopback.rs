//! The owner of the other end of a loopback TCP connection: the query to the kernel (`NETLINK_SOCK_DIAG`) and its answer, as
//! bytes. `server` sends and receives them.
//!
//! The query is by address, which a caller can release and another take before the answer arrives. So the answer counts only
//! if the accepted socket is still connected *afterwards*: as long as it is, nobody else can have its address.
//!
//! The kernel reports who *created* the socket. A process may hand its socket to another, and a user outside this user
//! namespace appears as nobody; neither can be helped here.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{DecodeError, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{
        AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2,
    },
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};

/// The two addresses of a connection, from the caller's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketEnds {
    from: SocketAddr,
    to: SocketAddr,
}

/// Why the owner is unknown.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The kernel refuses the query.
    #[error("the kernel does not report socket owners")]
    Refused(#[source] std::io::Error),
    /// The caller has closed its end, so it has no owner.
    #[error("the socket was closed")]
    Closed,
    /// The connection has ended, so its address may belong to another by now.
    #[error("the connection closed before its owner was known")]
    Ended,
    /// The answer is about another socket.
    #[error("the kernel reported another socket")]
    Other,
    /// The answer is malformed.
    #[error("the kernel's answer is malformed")]
    Unreadable(#[from] DecodeError),
}

impl SocketEnds {
    /// Returns the ends of a connection from `peer` to `local`. `None` if the peer is not on this machine.
    pub fn of(peer: SocketAddr, local: SocketAddr) -> Option<Self> {
        // An IPv4 caller of an IPv6 listener has an IPv4 socket.
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (from, to) = (plain(peer), plain(local));
        (from.ip().is_loopback() && from.is_ipv4() == to.is_ipv4()).then_some(Self { from, to })
    }

    /// Returns the query as a netlink datagram.
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
                // Any cookie.
                cookie: [0xff; 8],
            },
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        datagram(header, SockDiagMessage::InetRequest(request))
    }

    /// Returns the owner's user id from the kernel's answer. `own_state` reads the state (`tcpi_state`) of our socket; it is
    /// called here because it must be read after the answer.
    ///
    /// # Errors
    /// If the answer is not about exactly this end of a connection that is still open; see [`OwnerError`].
    pub fn owner(
        &self,
        answer: &[u8],
        own_state: impl FnOnce() -> std::io::Result<u8>,
    ) -> Result<u32, OwnerError> {
        let owner = self.owner_in_answer(answer)?;
        // A reset socket is still readable, with everything sent before. In any other state the address is free, and the
        // answer may be about the next caller that connects from it.
        match own_state().map_err(OwnerError::Refused)? {
            TCP_ESTABLISHED | TCP_CLOSE_WAIT => Ok(owner),
            _ => Err(OwnerError::Ended),
        }
    }

    fn owner_in_answer(&self, answer: &[u8]) -> Result<u32, OwnerError> {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(answer)?;
        if let NetlinkPayload::Error(error) = &message.payload {
            let error = error.to_io();
            // No socket has this address: it is gone.
            let gone = error.kind() == std::io::ErrorKind::NotFound;
            return Err(if gone { OwnerError::Closed } else { OwnerError::Refused(error) });
        }
        let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) = &message.payload else {
            return Err(OwnerError::Other);
        };
        self.owner_in(&response.header)
    }

    fn owner_in(&self, found: &InetResponseHeader) -> Result<u32, OwnerError> {
        let SocketId { source_address, source_port, destination_address, destination_port, .. } =
            &found.socket_id;
        let plain = |ip: &IpAddr, port: &u16| SocketAddr::new(ip.to_canonical(), *port);
        let ends = (plain(source_address, source_port), plain(destination_address, destination_port));
        // Without such a connection the kernel reports a listener on the caller's port.
        if ends != (self.from, self.to) {
            return Err(OwnerError::Other);
        }
        match found.state {
            // A closed socket has no inode, and the kernel reports root as its owner.
            _ if found.inode == 0 => Err(OwnerError::Closed),
            TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_CLOSE_WAIT => Ok(found.uid),
            // A socket that is still connecting is not the one we accepted.
            _ => Err(OwnerError::Other),
        }
    }
}

fn datagram(header: NetlinkHeader, message: SockDiagMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use netlink_packet_sock_diag::{
        constants::{
            TCP_CLOSE, TCP_CLOSING, TCP_LAST_ACK, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT,
        },
        inet::InetResponse,
    };

    use super::*;

    fn ends(peer: &str, local: &str) -> Option<SocketEnds> {
        SocketEnds::of(peer.parse().unwrap(), local.parse().unwrap())
    }

    /// Returns the kernel's answer for a socket with these addresses, state and inode, and the owner 1001.
    fn answer(from: &str, to: &str, state: u8, inode: u32) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let header = InetResponseHeader {
            family: if from.is_ipv4() { AF_INET } else { AF_INET6 },
            state,
            timer: None,
            socket_id: SocketId {
                source_address: from.ip(),
                source_port: from.port(),
                destination_address: to.ip(),
                destination_port: to.port(),
                interface_id: 0,
                cookie: [7; 8],
            },
            recv_queue: 0,
            send_queue: 0,
            uid: 1001,
            inode,
        };
        let response = InetResponse { header, nlas: Default::default() };
        datagram(NetlinkHeader::default(), SockDiagMessage::InetResponse(Box::new(response)))
    }

    #[test]
    fn only_a_peer_on_this_machine_has_an_owner_here() {
        for (peer, local, expected) in [
            ("127.0.0.1:40000", "127.0.0.1:8080", true),
            ("127.9.9.9:40000", "127.0.0.1:8080", true),
            ("[::1]:40000", "[::1]:8080", true),
            ("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", true),
            ("10.0.0.1:40000", "10.0.0.2:8080", false),
            ("[::ffff:10.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", false),
        ] {
            assert_eq!(ends(peer, local).is_some(), expected, "{peer}");
        }
    }

    #[test]
    fn the_owner_is_that_of_an_open_socket_with_exactly_these_ends() {
        let (from, to) = ("127.0.0.1:40000", "127.0.0.1:8080");
        let ends = ends(from, to).unwrap();
        let owner =
            |from, to, state, inode| ends.owner(&answer(from, to, state, inode), || Ok(TCP_ESTABLISHED));
        for state in [TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT] {
            assert_eq!(owner(from, to, state, 5).unwrap(), 1001, "{state}");
        }
        for state in [TCP_SYN_SENT, TCP_SYN_RECV, TCP_TIME_WAIT, TCP_CLOSE, TCP_LAST_ACK, TCP_CLOSING] {
            assert!(matches!(owner(from, to, state, 5), Err(OwnerError::Other)), "{state}");
        }
        let mapped = owner("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", TCP_ESTABLISHED, 5);
        assert_eq!(mapped.unwrap(), 1001);
        for (from, to, state) in [
            (from, to, TCP_LISTEN),
            (from, "0.0.0.0:0", TCP_LISTEN),
            (to, from, TCP_ESTABLISHED),
            ("127.0.0.1:40001", to, TCP_ESTABLISHED),
        ] {
            assert!(matches!(owner(from, to, state, 5), Err(OwnerError::Other)), "{from} {to} {state}");
        }
        // The kernel reports root for these.
        for state in [TCP_ESTABLISHED, TCP_FIN_WAIT2, TCP_TIME_WAIT] {
            assert!(matches!(owner(from, to, state, 0), Err(OwnerError::Closed)), "{state}");
        }
    }

    #[test]
    fn there_is_no_owner_where_our_own_end_is_not_connected_any_more() {
        let (from, to) = ("127.0.0.1:40000", "127.0.0.1:8080");
        let answer = answer(from, to, TCP_ESTABLISHED, 5);
        let owner = |state| ends(from, to).unwrap().owner(&answer, || Ok(state));
        for state in 0..=u8::MAX {
            match state {
                TCP_ESTABLISHED | TCP_CLOSE_WAIT => assert_eq!(owner(state).unwrap(), 1001),
                _ => assert!(matches!(owner(state), Err(OwnerError::Ended)), "{state}"),
            }
        }
        let unknown = ends(from, to).unwrap().owner(&answer, || Err(std::io::ErrorKind::Other.into()));
        assert!(matches!(unknown, Err(OwnerError::Refused(_))));
    }

    #[test]
    fn an_answer_that_is_none_names_no_owner() {
        let ends = ends("127.0.0.1:40000", "127.0.0.1:8080").unwrap();
        let whole = answer("127.0.0.1:40000", "127.0.0.1:8080", TCP_ESTABLISHED, 5);
        for length in 0..whole.len() {
            assert!(ends.owner(&whole[..length], || Ok(TCP_ESTABLISHED)).is_err(), "{length} bytes");
        }
        assert!(ends.owner(&ends.question(), || Ok(TCP_ESTABLISHED)).is_err());
    }
}
