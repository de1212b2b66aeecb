//! Writes answers to a caller.

use std::{
    cell::Cell,
    io,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    super::{caller_stream::CallerStream, state::CloseRequest},
    parts::Connection,
};
use crate::metrics::CutReason;

/// The bytes of an answer, in a buffer that the thread's next answer reuses.
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// What follows them.
    pub(super) body: Bytes,
    pub(super) written: usize,
}

impl Output {
    pub(super) fn take() -> Self {
        Self { bytes: BUFFER.take(), body: Bytes::new(), written: 0 }
    }

    /// Returns the bytes that are to be written next.
    pub(super) fn rest(&self) -> &[u8] {
        match self.written.checked_sub(self.bytes.len()) {
            Some(written) => self.body.get(written..).unwrap_or_default(),
            None => self.bytes.get(self.written..).unwrap_or_default(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() <= MAX_KEPT_BUFFER {
            BUFFER.set(take(&mut self.bytes));
        }
    }
}

impl<S: CallerStream> Connection<S> {
    /// Writes an answer. Returns whether the caller has read it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<bool> {
        let written = loop {
            let rest = out.rest();
            if rest.is_empty() {
                break Pin::new(&mut self.stream).poll_flush(cx);
            }
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => out.written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if let Poll::Ready(written) = written {
            return Poll::Ready(written.is_ok());
        }
        let leave = self.permit.state.poll_order(cx) == CloseRequest::Leave;
        if !leave {
            ready!(self.poll_time(cx));
        }
        self.count(if leave { CutReason::Crowded } else { CutReason::Answer });
        Poll::Ready(false)
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

const MAX_KEPT_BUFFER: usize = 16 * 1024;
