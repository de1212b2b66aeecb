//! TLS over one connection, with buffers that exist only while they hold something.
//!
//! A library's stream keeps its buffers all its life, and most connections are idle most of the time. rustls's unbuffered
//! API leaves the buffers to us, so an idle connection has none, a handshake's memory is bounded, and a session can move to
//! another thread after its handshake.

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

/// A TLS connection.
pub(crate) struct TlsStream {
    pub(super) socket: TcpStream,
    pub(super) session: Session,
}

/// The TLS state of a connection, independent of its socket.
pub(super) struct Session {
    tls: Box<UnbufferedServerConnection>,
    /// Received bytes that are not a complete record or handshake message yet.
    incoming: Vec<u8>,
    /// Bytes to be sent.
    outgoing: Vec<u8>,
    sent: usize,
    /// Decrypted bytes.
    plain: Vec<u8>,
    read: usize,
    /// Whether the caller has ended its side.
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

    /// Returns the caller's verified certificate chain, its own first.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Performs the handshake over this socket.
    ///
    /// # Errors
    /// If it fails, or the caller sends more than a handshake needs.
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

    /// Processes what was received as far as possible.
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
                    // An alert may tell the caller why.
                    result = Err(invalid(error));
                }
            }
            self.incoming.drain(..discard.min(self.incoming.len()));
            if self.incoming.is_empty() {
                self.incoming = Vec::new();
            }
            if result.is_err() {
                self.alert();
                // Nothing more is read or sent.
                (self.ended, self.said_goodbye) = (true, true);
                return result;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Queues the alert about a failure, if there is one.
    fn alert(&mut self) {
        let status = self.tls.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
            // The connection ends with or without it.
            drop(append(&mut self.outgoing, |room| data.encode(room).map_err(BufferShort::encoding)));
        }
    }

    /// Encrypts and queues these bytes; without any, queues the closing alert.
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
            // A key update may need an answer, or a failure an alert. The next write sends what this one cannot.
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
        // The next write or flush sends the rest.
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

/// Why a write into a buffer failed: too small, or an encoding error.
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

/// Appends what `write` produces, growing the buffer as needed.
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

/// The size of one read.
const CHUNK: usize = 4096;
/// The maximum size of a record's contents (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// The maximum size of an unfinished message: a hello has some 2 KiB, a certificate chain at most 16.
const MAX_HANDSHAKE: usize = 24 * 1024;
const TOO_LARGE: &str = "a message of the TLS handshake is too large";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
