//! Listening sockets by kind, whether bound here or inherited.

use std::{io, path::Path};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, UnixListener};

/// A listening socket by its kind.
pub(super) enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Kind {
    /// Returns the address as the configuration writes it. A port 0 is replaced by the one that the system chose.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("(no path)")).display())
            }
        }
    }

    /// Drops the SYN of new connections, whose callers then retry and find the next process or nobody. Otherwise a
    /// connection that arrives between the last accept and the close would be reset. A Unix socket without its file has no
    /// newcomers.
    pub(super) fn close_to_newcomers(&self) {
        if let Self::Tcp(listener) = self {
            let program = NO_SYN.map(|(code, yes, no, k)| SockFilter::new(code, yes, no, k));
            // Without the filter only that short moment remains.
            drop(SockRef::from(listener).attach_filter(&program));
        }
    }

    /// Bounds the kernel's buffers of each accepted connection: requests and answers are small.
    pub(super) fn bound_buffers(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let socket = SockRef::from(listener);
                socket.set_recv_buffer_size(RECEIVED)?;
                socket.set_send_buffer_size(SENT)
            }
            // A Unix connection inherits no buffer sizes, and buffers only what it sends.
            Self::Unix(_) => Ok(()),
        }
    }

    pub(super) fn is_local(&self) -> io::Result<bool> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        })
    }
}

/// A filter in classic BPF that drops packets with SYN. It sees packets from their TCP header on.
const NO_SYN: [(u16, u8, u8, u32); 4] = [
    // BPF_LD | BPF_B | BPF_ABS: the flags (RFC 9293, section 3.1).
    (0x30, 0, 0, 13),
    // BPF_JMP | BPF_JSET | BPF_K: with SYN, the next one; without, the one after it.
    (0x45, 0, 1, 0x02),
    // BPF_RET | BPF_K: the number of bytes to keep.
    (0x06, 0, 0, 0),
    (0x06, 0, 0, u32::MAX),
];
/// The kernel's receive buffer of a connection, large enough for most heads. The kernel doubles it (socket(7)). Thousands of
/// connections may have one each, in addition to `limits.buffer_bytes`.
const RECEIVED: usize = 2048;
/// The kernel's send buffer, large enough for a few small answers.
pub(super) const SENT: usize = 4096;
