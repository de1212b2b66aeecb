//! Reads a request as far as there is memory for it, and limits how long it waits for more.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{io::ReadBuf, time::Instant};

use super::{
    super::{
        caller_stream::{CallerStream, has_unseen},
        state::CloseRequest,
    },
    parts::Connection,
};
use crate::limit::ByteReservation;

/// The result of waiting for more of a request.
pub(super) enum ReadOutcome {
    /// More was read.
    Read,
    /// Enough has been read.
    Enough,
    /// The connection ended.
    Ended,
    /// It took too long, or the connection was asked to leave.
    NotWaitedFor { leave: bool },
}

impl<S: CallerStream> Connection<S> {
    /// Reads more of a request until there is `enough`, if there is memory for it.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<ReadOutcome> {
        if !self.has_room() {
            // Memory is tried for again soon; meanwhile nothing is read.
            self.timer.as_mut().reset(Instant::now() + POLL_INTERVAL);
            return self.poll_patience(cx, false);
        }
        if self.input.len() >= enough {
            return Poll::Ready(ReadOutcome::Enough);
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(chunk)) if chunk > 0 => Poll::Ready(ReadOutcome::Read),
            Poll::Ready(_) => Poll::Ready(ReadOutcome::Ended),
            Poll::Pending => self.poll_patience(cx, true),
        }
    }

    /// Releases the memory of the input that has been consumed.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.has_room();
        }
    }

    /// Whether there is memory for what has been read.
    fn has_room(&mut self) -> bool {
        let cached = self.input.len() + self.stream.cached();
        if cached == 0 && self.room.take().is_some() {
            self.permit.state.hold(false);
        }
        let short = cached.saturating_sub(self.room.as_ref().map_or(0, ByteReservation::bytes));
        if short == 0 {
            return true;
        }
        let Some(more) = self.context.limiter.room().try_take(short.next_multiple_of(BUDGET_STEP)) else {
            return false;
        };
        match &mut self.room {
            Some(room) => room.add(more),
            None => self.room = Some(more),
        }
        self.permit.state.hold(true);
        true
    }

    /// Ready when the wait for more of a request is over.
    fn poll_patience(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<ReadOutcome> {
        let leave = self.permit.state.poll_order(cx) == CloseRequest::Leave;
        if !leave {
            ready!(self.poll_time(cx));
        }
        if reads && has_unseen(self.socket) {
            // A connection whose request has arrived is not closed.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(ReadOutcome::NotWaitedFor { leave })
    }

    /// Reads more of a head. Returns the number of bytes.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        self.input.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }
}

/// The size of one read. Most heads are smaller.
pub(super) const CHUNK: usize = 4096;
/// The step by which memory is reserved.
const BUDGET_STEP: usize = 4096;
const POLL_INTERVAL: Duration = Duration::from_millis(10);
