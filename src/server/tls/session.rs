//! TLS over one connection, whose buffers are there while something is in them.
//!
//! A library's stream keeps buffers for as long as it lives, and most connections wait most of the time. rustls leaves
//! the buffers to us here, so an idle connection has none, what a handshake may take is bounded, and a session can move
//! to another thread when its handshake is done.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::super::caller_stream::CallerStream;

/// A connection with TLS.
pub(crate) struct TlsStream {
    pub(super) socket: TcpStream,
    pub(super) session: Session,
}

/// The TLS of a connection, wherever its bytes come from.
pub(super) struct Session {
    tls: Box<UnbufferedServerConnection>,
    /// What was received, and is no whole record, or no whole message of the handshake.
    incoming: Vec<u8>,
    /// What is to be sent.
    outgoing: Vec<u8>,
    sent: usize,
    /// What the caller said.
    plain: Vec<u8>,
    read: usize,
    /// It says no more.
    ended: bool,
    said_goodbye: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self {
            tls: Box::new(UnbufferedServerConnection::new(config).map_err(invalid)?),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            plain: Vec::new(),
            read: 0,
            ended: false,
            said_goodbye: false,
        })
    }

    /// The certificates that the caller showed, its own first; the chain was verified.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Shakes hands over this socket.
    ///
    /// # Errors
    /// Where it fails, or the caller says more than a handshake needs.
    pub(super) async fn handshake(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        loop {
            let processed = self.process();
            self.send_all(socket).await?;
            processed?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            if self.incoming.len() >= MAX_HANDSHAKE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LARGE));
            }
            if self.incoming.capacity() == self.incoming.len() {
                self.incoming.reserve_exact(CHUNK.min(MAX_HANDSHAKE - self.incoming.len()));
            }
            if socket.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send_all(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(socket, cx)).await
    }

    /// Makes of what was received whatever can be made.
    fn process(&mut self) -> io::Result<()> {
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.tls.process_tls_records(&mut self.incoming);
            let (mut done, mut result) = (false, Ok(()));
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    result =
                        append(&mut self.outgoing, |room| data.encode(room).map_err(BufferShort::encoding));
                }
                // It stays in `outgoing` until it is sent.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                self.plain.extend_from_slice(record.payload);
                            }
                            Err(error) => result = Err(invalid(error)),
                        }
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::ReadEarlyData(_)) => result = Err(io::Error::other("early data")),
                Ok(_) => done = true,
                Err(error) => {
                    // An alert may say why.
                    result = Err(invalid(error));
                }
            }
            self.incoming.drain(..discard.min(self.incoming.len()));
            if self.incoming.is_empty() {
                self.incoming = Vec::new();
            }
            if result.is_err() {
                self.alert();
                // Nothing more is read or said.
                (self.ended, self.said_goodbye) = (true, true);
                return result;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Queues the alert that says why it failed, where there is one.
    fn alert(&mut self) {
        let status = self.tls.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
            // Without it the connection ends all the same.
            drop(append(&mut self.outgoing, |room| data.encode(room).map_err(BufferShort::encoding)));
        }
    }

    /// Queues these bytes, or, where there are none, the end of what we say.
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.process()?;
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        append(&mut self.outgoing, |room| {
            match bytes {
                [] => traffic.queue_close_notify(room),
                bytes => traffic.encrypt(bytes, room),
            }
            .map_err(BufferShort::encrypting)
        })
    }

    fn poll_send(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl CallerStream for TlsStream {
    fn cached(&self) -> usize {
        self.session.incoming.capacity() + self.session.plain.capacity()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        loop {
            let rest = session.plain.get(session.read..).unwrap_or_default();
            if !rest.is_empty() {
                let fits = rest.get(..buf.remaining()).unwrap_or(rest);
                buf.put_slice(fits);
                session.read += fits.len();
                if session.read == session.plain.len() {
                    (session.plain, session.read) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            if session.ended {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut chunk))?;
            session.ended = chunk.filled().is_empty();
            session.incoming.extend_from_slice(chunk.filled());
            let processed = session.process();
            // A key update may be to be answered, or a failure told. The next write sends what this one cannot.
            if session.poll_send(socket, cx)?.is_pending() && session.outgoing.len() > MAX_HANDSHAKE {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LARGE)));
            }
            processed?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, session } = self.get_mut();
        ready!(session.poll_send(socket, cx))?;
        let record = bytes.get(..RECORD).unwrap_or(bytes);
        if !record.is_empty() {
            session.encrypt(record)?;
        }
        // What is not sent now is sent by the next write, or the flush.
        if let Poll::Ready(Err(error)) = session.poll_send(socket, cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(record.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        session.poll_send(socket, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        if !session.said_goodbye {
            session.said_goodbye = true;
            session.encrypt(&[])?;
        }
        ready!(session.poll_send(socket, cx))?;
        Pin::new(socket).poll_shutdown(cx)
    }
}

impl AsRawFd for TlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// There is too little room, or there is no way.
enum BufferShort {
    Needs(usize),
    Failed(io::Error),
}

impl BufferShort {
    fn encoding(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needs(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Failed(io::Error::other(error)),
        }
    }

    fn encrypting(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needs(required_size)
            }
            EncryptError::EncryptExhausted => Self::Failed(io::Error::other(error)),
        }
    }
}

/// Appends what is written into a room that is made as large as it needs to be.
fn append(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, BufferShort>,
) -> io::Result<()> {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match write(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(BufferShort::Needs(more)) if more > room => room = more,
            Err(BufferShort::Needs(_)) => return Err(io::ErrorKind::OutOfMemory.into()),
            Err(BufferShort::Failed(error)) => {
                out.truncate(start);
                return Err(error);
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// As much is read at once.
const CHUNK: usize = 4096;
/// As much a record holds at most (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// As much may wait for the rest of a message: a hello is some 2 KiB, a chain of certificates at most 16.
const MAX_HANDSHAKE: usize = 24 * 1024;
const TOO_LARGE: &str = "a message of the TLS handshake is too large";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
