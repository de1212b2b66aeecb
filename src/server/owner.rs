//! Asks the kernel for the owner of a loopback connection's other end ([`SocketEnds`]).

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use nix::{
    getsockopt_impl, libc,
    sys::socket::{
        AddressFamily, GetSockOpt, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto,
        socket, sockopt::GetU8,
    },
};
use tokio::net::TcpStream;

use crate::{
    identity::{OwnerError, SocketEnds},
    log::LIMITED,
};

/// Returns the user id of the other end's owner, if that is on this machine and known. To be called before anything else
/// uses the connection: what is known then stays true, because a connection can only end.
///
/// `needed` says whether the policy in force identifies callers by it.
pub(super) fn of(stream: &TcpStream, peer: SocketAddr, needed: bool) -> Option<u32> {
    let ends = SocketEnds::of(peer, stream.local_addr().ok()?)?;
    match ask(&ends, stream) {
        Ok(uid) => Some(uid),
        Err(error @ OwnerError::Refused(_)) if needed => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(target: LIMITED, %peer, %error, source, "cannot identify a caller by its socket's owner");
            None
        }
        Err(
            error @ (OwnerError::Closed
            | OwnerError::Ended
            | OwnerError::Other
            | OwnerError::Refused(_)
            | OwnerError::Unreadable(_)),
        ) => {
            tracing::debug!(target: LIMITED, %peer, %error, "unknown owner of a caller's socket");
            None
        }
    }
}

/// Asks the kernel. It answers before `sendto` returns, so nothing here waits.
fn ask(ends: &SocketEnds, stream: &TcpStream) -> Result<u32, OwnerError> {
    let refused = |error: nix::Error| OwnerError::Refused(io::Error::from(error));
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let netlink = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)
        .map_err(refused)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &ends.question(), &kernel, MsgFlags::empty()).map_err(refused)?;
    let mut answer = [0; ANSWER];
    let (length, from) = recvfrom::<NetlinkAddr>(netlink.as_raw_fd(), &mut answer).map_err(refused)?;
    if from.is_none_or(|from| from.pid() != 0) {
        return Err(OwnerError::Other);
    }
    ends.owner(answer.get(..length).unwrap_or_default(), || Ok(TcpState.get(stream)?))
}

/// The state of a TCP socket: `tcpi_state`, the first byte of `struct tcp_info`. The kernel returns as much of it as is
/// asked for.
#[derive(Clone, Copy)]
struct TcpState;

getsockopt_impl!(TcpState, libc::IPPROTO_TCP, libc::TCP_INFO, u8, GetU8);

/// The buffer for the answer: 72 bytes with its header, and attributes, whose number may grow.
const ANSWER: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{io::Write, net::Shutdown, thread, time::Duration};

    use nix::unistd::{Uid, geteuid, setfsuid};
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns the owner that is found for a client's connection after `act`.
    async fn owner_of_client(bind: &str, to: &str, act: fn(std::net::TcpStream)) -> Option<u32> {
        let listener = TcpListener::bind(bind).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((to, port)).unwrap();
        act(client);
        let (stream, peer) = listener.accept().await.unwrap();
        of(&stream, peer, true)
    }

    /// Keeps the client's socket open.
    fn keep(client: std::net::TcpStream) {
        std::mem::forget(client);
    }

    #[tokio::test]
    async fn the_kernel_tells_who_made_the_socket() {
        let me = Some(geteuid().as_raw());
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", keep).await, me);
        assert_eq!(owner_of_client("0.0.0.0:0", "127.0.0.2", keep).await, me);
        assert_eq!(owner_of_client("[::1]:0", "::1", keep).await, me);
        assert_eq!(owner_of_client("[::]:0", "127.0.0.1", keep).await, me);
        assert_eq!(owner_of_client("[::]:0", "::ffff:127.0.0.1", keep).await, me);
        assert_eq!(owner_of_client("127.0.0.1:0", "::ffff:127.0.0.1", keep).await, me);
        let half_closed: fn(std::net::TcpStream) = |client| {
            client.shutdown(Shutdown::Write).unwrap();
            keep(client);
        };
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", half_closed).await, me);
    }

    /// The kernel reports root as the owner of such a socket.
    #[tokio::test]
    async fn a_socket_that_was_closed_has_no_owner() {
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", drop).await, None);
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", reset).await, None);
    }

    fn reset(client: std::net::TcpStream) {
        Socket::from(client).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Returns a user's connection from this address, on which the user has sent something.
    fn connected(user: Uid, from: SocketAddr, to: SocketAddr) -> (std::net::TcpStream, SocketAddr) {
        let connected = thread::spawn(move || {
            // Changes this thread only. Without root the user stays the same, but the addresses are still reused.
            setfsuid(user);
            let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
            socket.bind(&from.into()).unwrap();
            socket.connect(&to.into()).unwrap();
            let mut stream = std::net::TcpStream::from(socket);
            stream.write_all(b"DELETE").unwrap();
            let from = stream.local_addr().unwrap();
            (stream, from)
        });
        connected.join().unwrap()
    }

    /// A user connects, sends, and resets the connection; another user takes the port. Both connections wait to be accepted,
    /// with the same addresses.
    #[tokio::test]
    async fn whoever_comes_after_a_reset_connection_does_not_own_it() {
        let (attacker, victim) = (Uid::from_raw(4001), Uid::from_raw(4002));
        let owner = if geteuid().is_root() { victim.as_raw() } else { geteuid().as_raw() };
        for (bind, from, to) in [
            ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"),
            ("[::1]:0", "[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "[::ffff:127.0.0.1]:0", "::ffff:127.0.0.1"),
        ] {
            let listener = TcpListener::bind(bind).await.unwrap();
            let to = SocketAddr::new(to.parse().unwrap(), listener.local_addr().unwrap().port());
            let (theirs, from) = connected(attacker, from.parse().unwrap(), to);
            reset(theirs);
            let (_open, _) = connected(victim, from, to);
            let (first, first_peer) = listener.accept().await.unwrap();
            let (second, second_peer) = listener.accept().await.unwrap();
            assert_eq!(first_peer, second_peer);
            assert_eq!(of(&first, first_peer, true), None, "{bind}");
            assert_eq!(of(&second, second_peer, true), Some(owner), "{bind}");
        }
    }
}
