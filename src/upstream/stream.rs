//! A TCP or TLS stream that counts its bytes.
//!
//! The counts tell "nothing was written" from "unknown", which hyper's errors do not. It also checks the socket before the
//! first byte of each request: bytes that upstream sent unasked would be taken for the answer, and a closed connection is
//! noticed while the request can still take another.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use rustls::ProtocolVersion;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A connection to upstream.
pub(super) struct CountingStream {
    kind: Kind,
    counts: Arc<ByteCounts>,
    /// The digest of the authorities that the other end was verified with, if TLS.
    authorities: Option<[u8; 32]>,
}

enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The HTTP bytes of a connection in each direction.
#[derive(Default)]
pub(super) struct ByteCounts {
    read: AtomicU64,
    written: AtomicU64,
    /// The bytes written before the last request.
    mark: AtomicU64,
}

impl CountingStream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { kind: Kind::Plain(stream), counts: Arc::default(), authorities: None }
    }

    /// Wraps a TLS stream that was verified with these authorities.
    pub(super) fn tls(stream: TlsStream<TcpStream>, authorities: [u8; 32]) -> Self {
        Self { kind: Kind::Tls(Box::new(stream)), counts: Arc::default(), authorities: Some(authorities) }
    }

    /// Returns the digest of the authorities that the other end was verified with, if TLS.
    pub(super) fn authorities(&self) -> Option<[u8; 32]> {
        self.authorities
    }

    pub(super) fn counts(&self) -> Arc<ByteCounts> {
        Arc::clone(&self.counts)
    }

    /// Returns the TLS version, if any.
    pub(super) fn protocol(&self) -> Option<ProtocolVersion> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.get_ref().1.protocol_version(),
        }
    }
}

impl ByteCounts {
    pub(super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Marks the start of a request, before which nothing may be received.
    pub(super) fn expect_silence(&self) {
        self.mark.store(self.written.load(Relaxed), Relaxed);
    }

    /// Whether nothing of that request has been written.
    pub(super) fn wrote_nothing(&self) -> bool {
        self.written.load(Relaxed) == self.mark.load(Relaxed)
    }
}

impl Kind {
    /// Ready if upstream has sent nothing. Asks the kernel, because tokio's state may be out of date.
    ///
    /// # Errors
    /// If upstream closed the connection or sent bytes unasked.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = match self {
            Self::Plain(tcp) => {
                return Poll::Ready(match waiting(tcp)? {
                    false => Ok(()),
                    true => Err(io::Error::other(UNSOLICITED)),
                });
            }
            Self::Tls(tls) => tls,
        };
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        if Pin::new(&mut *tls).poll_read(cx, &mut byte)?.is_ready() {
            let closed = byte.filled().is_empty();
            return Poll::Ready(Err(if closed {
                io::ErrorKind::UnexpectedEof.into()
            } else {
                io::Error::other(UNSOLICITED)
            }));
        }
        // The bytes may be TLS's own, such as session tickets. They wake this task and are read then.
        if waiting(tls.get_ref().0)? { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// Whether there are bytes to read.
fn waiting(tcp: &TcpStream) -> io::Result<bool> {
    match recv(tcp.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl AsyncRead for CountingStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.kind {
            Kind::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Kind::Tls(s) => Pin::new(s).poll_read(cx, buf),
        })?;
        let read = buf.filled().len() - before;
        // hyper also reads while a request still waits to be written.
        if read > 0 && this.counts.wrote_nothing() {
            return Poll::Ready(Err(io::Error::other(UNSOLICITED)));
        }
        this.counts.read.fetch_add(read as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountingStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.counts.wrote_nothing() {
            ready!(this.kind.poll_silent(cx))?;
        }
        let (result, sure) = match &mut this.kind {
            Kind::Plain(s) => (ready!(Pin::new(s).poll_write_vectored(cx, bufs)), true),
            Kind::Tls(s) => (ready!(Pin::new(s).poll_write_vectored(cx, bufs)), false),
        };
        // If writing a record fails, part of it may have been sent.
        let written = result.as_ref().map_or(usize::from(!sure), |written| *written);
        this.counts.written.fetch_add(written as u64, Relaxed);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(s) => Pin::new(s).poll_flush(cx),
            Kind::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Kind::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

const UNSOLICITED: &str = "upstream sent data before the request";

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::upstream::loopback::{connected, tls};

    async fn connected_with_tls() -> (CountingStream, tokio_rustls::server::TlsStream<TcpStream>) {
        let (server, connector) = tls(rustls::DEFAULT_VERSIONS);
        let (near, far) = connected().await;
        let (name, acceptor) = ("localhost".try_into().unwrap(), TlsAcceptor::from(server));
        let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        (CountingStream::tls(near.unwrap(), [0; 32]), far.unwrap())
    }

    async fn ask(stream: &mut CountingStream) -> io::Result<usize> {
        stream.counts().expect_silence();
        stream.write(b"request").await
    }

    /// Waits until the other end's bytes are in the kernel, before anything here has polled.
    async fn wait_for_bytes(near: &CountingStream) {
        let tcp = match &near.kind {
            Kind::Plain(tcp) => tcp,
            Kind::Tls(tls) => tls.get_ref().0,
        };
        while matches!(waiting(tcp), Ok(false)) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_came_before_a_request_is_no_answer_to_it() {
        let (near, mut far) = connected().await;
        let mut near = CountingStream::plain(near);
        assert_eq!(ask(&mut near).await.unwrap(), 7);
        far.write_all(b"answer").await.unwrap();
        near.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(ask(&mut near).await.unwrap(), 7, "silent again");
        far.write_all(b"answer, and another").await.unwrap();
        near.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(ask(&mut near).await.unwrap_err().to_string(), UNSOLICITED);
        assert!(near.counts().wrote_nothing());
    }

    #[tokio::test]
    async fn nothing_is_read_before_the_request_is_written() {
        let (near, mut far) = connected().await;
        let mut near = CountingStream::plain(near);
        far.write_all(b"answer").await.unwrap();
        assert_eq!(near.read(&mut [0; 6]).await.unwrap_err().to_string(), UNSOLICITED);
        let (near, mut far) = connected().await;
        let mut near = CountingStream::plain(near);
        assert_eq!(ask(&mut near).await.unwrap(), 7);
        far.write_all(b"answer").await.unwrap();
        assert_eq!(near.read(&mut [0; 6]).await.unwrap(), 6);
        near.counts().expect_silence();
        far.write_all(b"answer").await.unwrap();
        assert_eq!(near.read(&mut [0; 6]).await.unwrap_err().to_string(), UNSOLICITED);
    }

    #[tokio::test]
    async fn a_connection_that_closed_takes_no_request() {
        let (near, far) = connected().await;
        let mut near = CountingStream::plain(near);
        drop(far);
        wait_for_bytes(&near).await;
        assert_eq!(ask(&mut near).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(near.counts().wrote_nothing());
    }

    #[tokio::test]
    async fn within_tls_session_tickets_are_no_answer_and_answers_are() {
        // Session tickets follow the handshake.
        let (mut near, mut far) = connected_with_tls().await;
        wait_for_bytes(&near).await;
        assert_eq!(ask(&mut near).await.unwrap(), 7);
        far.write_all(b"answer").await.unwrap();
        near.read_exact(&mut [0; 6]).await.unwrap();
        far.write_all(b"another").await.unwrap();
        far.flush().await.unwrap();
        wait_for_bytes(&near).await;
        assert_eq!(ask(&mut near).await.unwrap_err().to_string(), UNSOLICITED);
        assert!(near.counts().wrote_nothing());

        let (mut near, mut far) = connected_with_tls().await;
        assert_eq!(ask(&mut near).await.unwrap(), 7);
        far.shutdown().await.unwrap();
        let closed = poll_fn(|cx| near.kind.poll_silent(cx)).await.unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
    }
}
