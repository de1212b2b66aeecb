//! The state of a connection, and how long each phase may last.

use std::{
    os::fd::RawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::{
    caller_stream::CallerStream,
    context::ListenerContext,
    head::{Head, HeadFault, Recogniser},
    limiter::Permit,
    state::{CloseRequest, Phase},
};
use crate::{identity::Peer, limit::ByteReservation, metrics::CutReason, stage::Payload};

/// A connection that is ready for requests.
pub(in crate::server) struct Connection<S> {
    pub(super) stream: S,
    pub(super) socket: RawFd,
    pub(super) context: Arc<ListenerContext>,
    pub(super) peer: Arc<Peer>,
    pub(super) permit: Permit,
    /// The bytes read of the next head.
    pub(super) input: BytesMut,
    /// The memory reserved for them.
    pub(super) room: Option<ByteReservation>,
    pub(super) recogniser: Recogniser,
    pub(super) phase: Phase,
    pub(super) since: Instant,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) requests: usize,
    pub(super) refusals: usize,
    /// The length of the body that is being read, or was to be.
    pub(super) expected: usize,
}

/// A request as received: its head or fault, and its body.
pub(super) struct Request {
    pub(super) head: Result<Head, HeadFault>,
    pub(super) payload: Payload,
}

impl<S: CallerStream> Connection<S> {
    pub(in crate::server) fn new(
        stream: S,
        context: Arc<ListenerContext>,
        peer: Arc<Peer>,
        permit: Permit,
    ) -> Self {
        let since = permit.state.enter(Phase::Idle);
        Self {
            socket: stream.as_raw_fd(),
            stream,
            input: BytesMut::new(),
            room: None,
            recogniser: Recogniser::new(&context.limits),
            phase: Phase::Idle,
            since,
            timer: Box::pin(sleep_until(since + context.limits.idle_timeout)),
            requests: 0,
            refusals: 0,
            expected: 0,
            context,
            peer,
            permit,
        }
    }

    /// Ready when the time for the phase is over.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limits = &self.context.limits;
        let wait = match self.phase {
            // The request has a deadline of its own.
            Phase::Working => return Poll::Pending,
            Phase::Handshake | Phase::Head => limits.header_timeout,
            Phase::Body => limits.header_timeout + time_for(self.expected),
            // A request may be on its way.
            Phase::Idle if self.permit.state.order() == CloseRequest::Finish => {
                self.context.idle_grace_end.min(limits.idle_timeout)
            }
            Phase::Idle | Phase::Answering => limits.idle_timeout,
            Phase::Closing => LINGER,
        };
        let end = self.since + wait.mul_f64(self.permit.lifetime.jitter);
        if end < self.timer.deadline() {
            self.timer.as_mut().reset(end);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            // The timer was set for an earlier phase.
            self.timer.as_mut().reset(end);
        }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.permit.state.enter(phase);
    }

    /// Counts a connection that the proxy closes.
    pub(super) fn count(&self, why: CutReason) {
        self.context.limiter.counts().cut(why);
    }
}

/// Returns the additional time for a body of this size: a second per 64 KiB.
fn time_for(bytes: usize) -> Duration {
    Duration::from_secs(1).mul_f64(bytes as f64 / 65_536.0)
}

const LINGER: Duration = Duration::from_secs(1);
