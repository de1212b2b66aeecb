//! What a connection of a caller is made of.

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// The stream of a caller's connection.
pub(super) trait CallerStream: AsyncRead + AsyncWrite + AsRawFd + Unpin {
    /// How many bytes of what was received it holds.
    fn cached(&self) -> usize {
        0
    }
}

impl CallerStream for TcpStream {}

impl CallerStream for UnixStream {}

/// Whether there are bytes that the runtime has not heard of yet, which happens when it has much to do.
pub(super) fn has_unseen(socket: RawFd) -> bool {
    recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).is_ok_and(|count| count > 0)
}
