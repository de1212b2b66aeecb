//! What was received of a request, as far as there is room for it; and how long more of it is waited for.

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

/// What came of waiting for more of a request.
pub(super) enum ReadOutcome {
    /// Some of it.
    Read,
    /// There is enough of it.
    Enough,
    /// The end of the connection.
    Ended,
    /// It took too long, or the connection was asked to leave.
    NotWaitedFor { leave: bool },
}

impl<S: CallerStream> Connection<S> {
    /// Reads some more of a request, where there is room for what there is of it and that is not `enough` yet.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<ReadOutcome> {
        if !self.has_room() {
            // It is looked for again soon; meanwhile nothing is read.
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

    /// Gives back what was held by what was taken of the input.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.has_room();
        }
    }

    /// Whether there is room for what was read of a request.
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

    /// Ready when more of a request is not waited for any longer.
    fn poll_patience(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<ReadOutcome> {
        let leave = self.permit.state.poll_order(cx) == CloseRequest::Leave;
        if !leave {
            ready!(self.poll_time(cx));
        }
        if reads && has_unseen(self.socket) {
            // A connection is not closed over a request that has arrived.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(ReadOutcome::NotWaitedFor { leave })
    }

    /// Reads some more of a head. Returns how much.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        self.input.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }
}

/// As much is read at once. It is more than most heads have.
pub(super) const CHUNK: usize = 4096;
/// Room for what was read is taken in steps.
const BUDGET_STEP: usize = 4096;
const POLL_INTERVAL: Duration = Duration::from_millis(10);
