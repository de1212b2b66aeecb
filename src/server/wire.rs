//! What did the caller really send, and when? The bytes of a connection, watched on their way to and from hyper.
//!
//! A [`Wire`] hands hyper one head at a time, so that what is wrong with one says nothing about the one before it; and
//! only whole ones, so that a connection that waits for a head needs no hyper, whose buffers are most of what it takes.
//! hyper also answers broken heads by itself, without our error shape and our record: that is swallowed, and the
//! connection answers in hyper's place. And it knows in which phase a connection is, which is what slow callers are
//! cut by ([`Watch`]). What is wrong with a head is `scan`'s to say.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::stage;

/// A caller's connection, watched.
pub(super) struct Wire<S> {
    stream: S,
    watch: Watch,
    /// A head is given up where it is larger.
    header_bytes: usize,
    /// What was read, and hyper does not have yet.
    ahead: BytesMut,
    /// So many bytes of that are of one head.
    head: usize,
    /// Nothing is gained by waiting for more of it.
    settled: bool,
}

/// The body of an answer, which tells when hyper has taken all of it.
pub(super) struct Told {
    body: stage::Body,
    watch: Watch,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, watch: Watch, header_bytes: usize) -> Self {
        watch.begin();
        Self { stream, watch, header_bytes, ahead: BytesMut::new(), head: 0, settled: false }
    }

    /// The connection itself, to answer in hyper's place.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits for something that hyper can deal with: a whole head, or one that is broken or too large. `false` where
    /// the caller ends before that.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let unseen = self.ahead.get(self.head..).unwrap_or_default();
            if !self.settled && !unseen.is_empty() {
                let (bytes, settled) = self.watch.read(unseen, self.header_bytes);
                self.head += bytes;
                self.settled = settled;
            }
            if self.settled {
                return Poll::Ready(Ok(true));
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.ahead.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Poll::Ready(arrived) = this.poll_head(cx) else {
            this.watch.awaited();
            return Poll::Pending;
        };
        if !arrived? {
            return Poll::Ready(Ok(()));
        }
        let fits = this.head.min(buf.remaining());
        buf.put_slice(this.ahead.get(..fits).unwrap_or_default());
        this.watch.handed();
        this.ahead.advance(fits);
        this.head -= fits;
        this.settled = this.head > 0;
        if this.ahead.is_empty() {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.watch.is_answering() {
            // Nobody has an answer to give: this is hyper's own to a broken head.
            return Poll::Ready(Ok(bufs.iter().map(|b| b.len()).sum()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.watch.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Told {
    pub(super) fn new(body: stage::Body, watch: Watch) -> Self {
        Self { body, watch }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// hyper drops a body when it has taken all of it.
impl Drop for Told {
    fn drop(&mut self) {
        self.watch.answer_taken();
    }
}

/// As much is read at once. It is more than most heads have.
const CHUNK: usize = 4096;
