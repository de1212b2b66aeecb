//! What did the caller really send, and when? The bytes of a connection, watched on their way to and from hyper.
//!
//! hyper accepts some heads that two servers may read differently and then hides the difference: bare line
//! feeds, a `#` in the target, a second length. It also answers broken heads by itself, without our error shape
//! and our record. A [`Wire`] notices the first and swallows the second; the connection then answers in hyper's
//! place. And it knows in which phase the connection is, which is what slow callers are cut by.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};

use crate::stage::Refusal;

/// A caller's connection, watched.
pub(super) struct Wire<S> {
    stream: S,
    watch: Watch,
}

/// What is known about a connection, shared by its [`Wire`], its service and its guard.
#[derive(Clone)]
pub(super) struct Watch(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    slow_head: Notify,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of its head.
    Head,
    /// Its answer, which we owe.
    Working,
    /// The caller, to read it.
    Answering,
}

struct State {
    phase: Phase,
    since: Instant,
    scan: Scan,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> (Self, Watch) {
        let state = State { phase: Phase::Idle, since: Instant::now(), scan: Scan::default() };
        let watch = Watch(Arc::new(Shared { state: Mutex::new(state), slow_head: Notify::new() }));
        (Self { stream, watch: watch.clone() }, watch)
    }

    /// The connection itself, to answer in hyper's place.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl Watch {
    /// A head was parsed. Says what is wrong with its bytes, or with any before them.
    pub(super) fn head_parsed(&self) -> Option<&'static str> {
        let mut state = self.state();
        state.enter(Phase::Working);
        state.scan.fault()
    }

    /// The answer is about to be written.
    pub(super) fn answer_ready(&self) {
        self.state().enter(Phase::Answering);
    }

    /// What the connection waits for, and since when.
    pub(super) fn phase(&self) -> (Phase, Instant) {
        let state = self.state();
        (state.phase, state.since)
    }

    /// Returns when a head has begun that did not arrive whole.
    pub(super) async fn slow_head(&self) {
        self.0.slow_head.notified().await;
    }

    /// How the bytes that hyper could not parse as a head are to be refused.
    pub(super) fn broken_head(&self, too_large: bool) -> Refusal {
        let scan = &self.state().scan;
        match (too_large, scan.fault()) {
            // Between two heads it was the whole head that is too large.
            (true, _) if scan.request_line && scan.in_head() => Refusal::TargetTooLong,
            (true, _) => Refusal::HeadersTooLarge,
            (false, fault) => Refusal::BadRequest(fault.unwrap_or("this is not a request of HTTP/1.1")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            let mut state = this.watch.state();
            state.scan.feed(read);
            if state.phase == Phase::Idle {
                state.enter(Phase::Head);
                if state.scan.in_head() {
                    this.watch.0.slow_head.notify_one();
                }
            }
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
        if this.watch.state().phase != Phase::Answering {
            // Nobody has an answer to give: this is hyper's own to a broken head.
            return Poll::Ready(Ok(bufs.iter().map(|b| b.len()).sum()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when an answer is written whole.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        let mut state = this.watch.state();
        if state.phase == Phase::Answering {
            if state.scan.in_head() {
                state.enter(Phase::Head);
                this.watch.0.slow_head.notify_one();
            } else {
                state.enter(Phase::Idle);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Reads heads as the specification writes them. No request has a body, so all bytes are heads.
pub struct Scan {
    /// The first line of a head is not over.
    request_line: bool,
    /// Bytes of the line so far.
    line: usize,
    /// They are the start of a `Content-Length` header, or all of it.
    length: bool,
    /// `Content-Length` headers of the head so far.
    lengths: usize,
    after_cr: bool,
    fault: Option<&'static str>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { request_line: true, line: 0, length: false, lengths: 0, after_cr: false, fault: None }
    }
}

impl Scan {
    /// Reads on. The first fault stays: where one head cannot be trusted, no later one can.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if !self.after_cr => self.found(BARE_LF),
                b'\n' => {
                    // An empty line ends a head; before a head it is skipped (RFC 9112, section 2.2).
                    self.request_line = self.line == 0;
                    self.length = !self.request_line;
                    if self.request_line {
                        self.lengths = 0;
                    }
                    self.line = 0;
                }
                _ if self.after_cr => self.found(BARE_CR),
                b'\r' => {}
                b'#' if self.request_line => self.found(FRAGMENT),
                0 => self.found(NUL),
                _ => self.line_byte(*byte),
            }
            self.after_cr = *byte == b'\r';
        }
    }

    /// Reads a byte of a line. hyper makes one of two equal lengths.
    fn line_byte(&mut self, byte: u8) {
        if self.length && self.line < LENGTH.len() {
            self.length = LENGTH.get(self.line) == Some(&byte.to_ascii_lowercase());
            self.lengths += usize::from(self.length && self.line + 1 == LENGTH.len());
            if self.lengths > 1 {
                self.found(LENGTHS);
            }
        }
        self.line += 1;
    }

    /// What two servers may read differently, where something was read that they may.
    pub fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Whether a head has begun and is not over.
    fn in_head(&self) -> bool {
        !self.request_line || self.line > 0
    }

    fn found(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }
}

const LENGTH: &[u8] = b"content-length:";
const LENGTHS: &str = "more than one Content-Length header";
const BARE_LF: &str = "a line of the head ends without a carriage return";
const BARE_CR: &str = "the head has a carriage return that ends no line";
const FRAGMENT: &str = "the request target has a `#`";
const NUL: &str = "the head has a NUL";

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(bytes: &[u8]) -> Scan {
        let mut whole = Scan::default();
        whole.feed(bytes);
        let mut by_byte = Scan::default();
        bytes.chunks(1).for_each(|byte| by_byte.feed(byte));
        assert_eq!((whole.fault, whole.in_head()), (by_byte.fault, by_byte.in_head()));
        whole
    }

    #[test]
    fn clean_heads_have_no_fault() {
        for bytes in [
            &b"DELETE /v2/p HTTP/1.1\r\nHost: h\r\n\r\n"[..],
            b"\r\nDELETE / HTTP/1.1\r\nX: a#b\r\n\r\nDELETE / HTTP/1.1\r\n\r\n",
            b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\nX: content-length:\r\nContent-Lengths: 0\r\n\r\n",
            b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\n\r\nDELETE / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ] {
            let scan = scanned(bytes);
            assert_eq!((scan.fault, scan.in_head()), (None, false));
        }
        assert!(scanned(b"DEL").in_head());
        assert!(scanned(b"DELETE / HTTP/1.1\r\n").in_head());
        assert!(scanned(b"DELETE / HTTP/1.1\r\nHost: h\r\n").in_head());
    }

    #[test]
    fn what_two_servers_may_read_differently_is_a_fault() {
        for (bytes, fault) in [
            (&b"DELETE / HTTP/1.1\nHost: h\r\n\r\n"[..], BARE_LF),
            (b"DELETE / HTTP/1.1\r\nHost: h\n\r\n", BARE_LF),
            (b"DELETE / HTTP/1.1\r\nHost: h\r\n\n", BARE_LF),
            (b"DELETE / HTTP/1.1\rHost: h\r\n\r\n", BARE_CR),
            (b"DELETE / HTTP/1.1\r\r\n", BARE_CR),
            (b"DELETE /a#b HTTP/1.1\r\n\r\n", FRAGMENT),
            (b"GET / HTTP/1.1\r\n\r\nDELETE /a#b HTTP/1.1\r\n\r\n", FRAGMENT),
            (b"DELETE / HTTP/1.1\r\nX: a\0b\r\n\r\n", NUL),
            (b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\nA: b\r\ncontent-lengTH:0\r\n\r\n", LENGTHS),
        ] {
            assert_eq!(scanned(bytes).fault, Some(fault), "{}", bytes.escape_ascii());
        }
    }
}
