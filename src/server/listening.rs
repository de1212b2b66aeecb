//! What listens, whoever bound it.

use std::{io, path::Path};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, UnixListener};

/// A listening socket by its kind.
pub(super) enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Kind {
    /// The address in the words of the configuration; the port is the one the system chose for 0.
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

    /// Whoever comes from now on gets no answer to the first packet, tries again, and finds the next process or nobody.
    /// Otherwise one could get in between the last that is accepted and the end of the socket, which would reset it.
    /// A Unix socket that lost its file has no newcomers.
    pub(super) fn close_to_newcomers(&self) {
        if let Self::Tcp(listener) = self {
            let program = NO_SYN.map(|(code, yes, no, k)| SockFilter::new(code, yes, no, k));
            // Without it there is that moment, no more.
            drop(SockRef::from(listener).attach_filter(&program));
        }
    }

    /// Bounds what the kernel keeps for each connection that is accepted: callers say little, and are told little.
    pub(super) fn bound_buffers(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let socket = SockRef::from(listener);
                socket.set_recv_buffer_size(RECEIVED)?;
                socket.set_send_buffer_size(SENT)
            }
            // Such a connection inherits nothing, and holds only what it sends itself.
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

/// A packet filter in classic BPF, which sees packets from their TCP header on: those with SYN are dropped.
const NO_SYN: [(u16, u8, u8, u32); 4] = [
    // BPF_LD | BPF_B | BPF_ABS: the flags (RFC 9293, section 3.1).
    (0x30, 0, 0, 13),
    // BPF_JMP | BPF_JSET | BPF_K: with SYN, the next one; without, the one after it.
    (0x45, 0, 1, 0x02),
    // BPF_RET | BPF_K: so many bytes of it.
    (0x06, 0, 0, 0),
    (0x06, 0, 0, u32::MAX),
];
/// What the kernel keeps of a connection that was not read yet: most heads. It takes twice as much for it (socket(7)).
/// Thousands of connections may have that much each, beside all that `limits.buffer_bytes` is for.
const RECEIVED: usize = 2048;
/// And what its caller did not take yet: a few small answers.
pub(super) const SENT: usize = 4096;
