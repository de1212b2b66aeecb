//! Who owns the other end of this connection? The question of [`Ends`], put to the kernel.

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
};
use tokio::net::TcpStream;

use crate::identity::{Ends, OwnerError};

/// The user id of the owner of a connection's other end, where that is on this machine and can be told.
pub(super) fn of(stream: &TcpStream, peer: SocketAddr) -> Option<u32> {
    let ends = Ends::of(peer, stream.local_addr().ok()?)?;
    match ask(&ends) {
        Ok(uid) => Some(uid),
        Err(error @ OwnerError::Refused(_)) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%peer, %error, source, "a caller cannot be proved by the owner of its socket");
            None
        }
        Err(error @ (OwnerError::Closed | OwnerError::Other | OwnerError::Unreadable(_))) => {
            tracing::debug!(%peer, %error, "the owner of a caller's socket is not known");
            None
        }
    }
}

/// The kernel answers before `sendto` returns, so nothing here waits.
fn ask(ends: &Ends) -> Result<u32, OwnerError> {
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
    ends.owner(answer.get(..length).unwrap_or_default())
}

/// The answer is 72 bytes with its header; the kernel adds attributes, and might add more.
const ANSWER: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use nix::unistd::geteuid;
    use tokio::net::TcpListener;

    use super::*;

    /// A connection from a client that did this with it, and the owner that is told.
    async fn owner_of_client(bind: &str, to: &str, act: fn(std::net::TcpStream)) -> Option<u32> {
        let listener = TcpListener::bind(bind).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((to, port)).unwrap();
        act(client);
        let (stream, peer) = listener.accept().await.unwrap();
        of(&stream, peer)
    }

    /// Keeps it open.
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
        let half_closed: fn(std::net::TcpStream) = |client| {
            client.shutdown(Shutdown::Write).unwrap();
            keep(client);
        };
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", half_closed).await, me);
    }

    /// The kernel says of such a socket that root owns it.
    #[tokio::test]
    async fn a_socket_that_was_closed_has_no_owner() {
        assert_eq!(owner_of_client("127.0.0.1:0", "127.0.0.1", drop).await, None);
    }
}
