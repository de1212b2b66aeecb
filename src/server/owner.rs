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
