//! The stream under a caller's connection.

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// The stream of a caller's connection.
pub(super) trait CallerStream: AsyncRead + AsyncWrite + AsRawFd + Unpin {
    /// Returns how many received bytes it holds.
    fn cached(&self) -> usize {
        0
    }
}

impl CallerStream for TcpStream {}

impl CallerStream for UnixStream {}

/// Whether the socket has bytes that the runtime has not noticed yet, as happens under load.
pub(super) fn has_unseen(socket: RawFd) -> bool {
    recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).is_ok_and(|count| count > 0)
}
