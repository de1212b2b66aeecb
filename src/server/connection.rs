//! One connection of a caller: it awaits a head and what body it has, has it answered, writes the answer, and awaits the
//! next head.
//!
//! One loop owns all of it. While the stack works nothing is read, so a caller that hangs up or half-closes changes
//! nothing: its call is finished and recorded. Heads that are broken or do not arrive in time become arrivals like any
//! other, so they are answered and recorded by the same stack. What waits has its time, and makes room where the
//! limiter asks for it.

use std::{
    future::poll_fn,
    io,
    ops::ControlFlow,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::{Method, Response, header::CONNECTION};
use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep, sleep_until},
};

use input::ReadOutcome;
use output::Output;

use super::{
    accept::ListenerContext,
    answer::{self, Framing},
    head::{Head, HeadFault, Recogniser},
    limiter::Permit,
    state::{CloseRequest, Phase},
    tls::TlsStream,
};
use crate::{
    identity::Peer,
    limit::ByteReservation,
    metrics::CutReason,
    stage::{Arrival, Body, Payload, Refusal, Service, is_passed_on},
};

/// What a connection is made of.
pub(super) trait CallerStream: AsyncRead + AsyncWrite + AsRawFd + Unpin {
    /// How many bytes of what was received it holds.
    fn cached(&self) -> usize {
        0
    }
}

impl CallerStream for TcpStream {}

impl CallerStream for UnixStream {}

impl CallerStream for TlsStream {
    fn cached(&self) -> usize {
        Self::cached(self)
    }
}

/// A connection that can bring requests.
pub(super) struct Connection<S> {
    stream: S,
    socket: RawFd,
    context: Arc<ListenerContext>,
    peer: Arc<Peer>,
    permit: Permit,
    /// What was read of the next head.
    input: BytesMut,
    /// The room for that.
    room: Option<ByteReservation>,
    recogniser: Recogniser,
    phase: Phase,
    since: Instant,
    timer: Pin<Box<Sleep>>,
    requests: usize,
    refusals: usize,
    /// The bytes that the body has which is waited for, or was to be.
    expected: usize,
}

/// A request as it came: its head, or why there is none; and its body.
struct Request {
    head: Result<Head, HeadFault>,
    payload: Payload,
}

/// What came of waiting for a request: a head, or why there is none to be read; or the end of the connection.
type NextRequest = ControlFlow<ConnectionEnd, Result<Head, HeadFault>>;

/// How a connection ends that brings no request.
enum ConnectionEnd {
    /// None will come, or none is waited for any more.
    Closing,
    /// Another connection needs the room: no time for words.
    Cut,
}

impl<S: CallerStream> Connection<S> {
    pub(super) fn new(stream: S, context: Arc<ListenerContext>, peer: Arc<Peer>, permit: Permit) -> Self {
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

    /// Serves it until either side ends it.
    ///
    /// Most connections wait most of the time, so what a wait holds is kept small: nothing is read into a buffer that
    /// lives on, and the stack's future is on the heap while there is one.
    pub(super) async fn serve(&mut self) {
        loop {
            let head = match poll_fn(|cx| self.poll_request(cx)).await {
                ControlFlow::Continue(head) => head,
                ControlFlow::Break(ConnectionEnd::Closing) => break,
                ControlFlow::Break(ConnectionEnd::Cut) => return,
            };
            let request = match head {
                // In a box, because most have none, and each connection would have the room for it.
                Ok(head) if head.body.is_some() => Box::pin(self.with_body(head)).await,
                head => Request { head, payload: Payload::None },
            };
            let (answer, framing) = self.answer(request).await;
            let mut out = Output::take();
            out.body = answer::write(&answer, framing, &mut out.bytes);
            drop(answer);
            self.permit.state.hold(!out.body.is_empty());
            self.enter(Phase::Answering);
            if !poll_fn(|cx| self.poll_write(cx, &mut out)).await {
                return;
            }
            drop(out);
            self.permit.state.hold(self.room.is_some());
            if framing.is_last {
                break;
            }
            self.enter(Phase::Idle);
        }
        self.enter(Phase::Closing);
        let (mut shut, mut reads) = (false, 0);
        poll_fn(|cx| self.poll_close(cx, &mut shut, &mut reads)).await;
    }

    /// Has a request answered. Nothing that the caller does meanwhile is noticed.
    async fn answer(&mut self, request: Request) -> (Response<Body>, Framing) {
        self.enter(Phase::Working);
        self.requests += 1;
        let Request { head, payload } = request;
        // What is left of a body is no request, nor what may be one of unknown length.
        let is_cut = match &payload {
            Payload::Missing(why) => self.expected > 0 || matches!(**why, Refusal::LengthRequired),
            Payload::None | Payload::Whole(_) => false,
        };
        let (head, is_head, is_last) = match head {
            Ok(Head { parts, is_last, .. }) => {
                let is_head = parts.method == Method::HEAD;
                (Ok(parts), is_head, is_last || is_cut)
            }
            Err(HeadFault { refusal, is_head }) => (Err(refusal), is_head, true),
        };
        let (peer, hosts) = (Arc::clone(&self.peer), Arc::clone(&self.context.hosts));
        let arrival = Arrival { head, payload, peer, hosts };
        let Ok(answer) = Box::pin(self.context.stack.call(arrival)).await;
        let is_last = self.has_served(&answer) || is_last;
        (answer, Framing { is_head, is_last })
    }

    /// Notes how a request was answered. Returns whether it is this connection's last one.
    fn has_served(&mut self, answer: &Response<Body>) -> bool {
        if is_passed_on(answer) {
            self.permit.state.prove();
        } else {
            self.refusals += 1;
        }
        let lifetime = self.permit.lifetime;
        answer.headers().contains_key(CONNECTION)
            || self.requests >= lifetime.requests
            || Instant::now() >= lifetime.until
            || self.permit.state.order() != CloseRequest::Stay
            || self.context.limiter.is_crowded()
            || (self.refusals >= MAX_REFUSALS && !self.permit.state.is_proven())
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<NextRequest> {
        loop {
            match self.recogniser.take(&mut self.input) {
                Ok(None) => {}
                Ok(Some(head)) => {
                    self.release();
                    return Poll::Ready(ControlFlow::Continue(Ok(head)));
                }
                Err(fault) => return Poll::Ready(ControlFlow::Continue(Err(fault))),
            }
            if self.phase == Phase::Idle && self.recogniser.has_begun() {
                self.enter(Phase::Head);
            }
            match ready!(self.poll_more(cx, usize::MAX)) {
                ReadOutcome::Read | ReadOutcome::Enough => {}
                ReadOutcome::Ended => return Poll::Ready(ControlFlow::Break(ConnectionEnd::Closing)),
                ReadOutcome::NotWaitedFor { leave } => return Poll::Ready(self.given_up(leave)),
            }
        }
    }

    /// How it ends where a head is not waited for any longer.
    fn given_up(&mut self, leave: bool) -> NextRequest {
        match (leave, self.phase) {
            (true, _) => {
                self.count(CutReason::Crowded);
                ControlFlow::Break(ConnectionEnd::Cut)
            }
            (false, Phase::Head) => {
                self.count(CutReason::Head);
                ControlFlow::Continue(Err(HeadFault::of(&self.input, Refusal::RequestTimeout)))
            }
            (false, _) => {
                self.count(CutReason::Idle);
                ControlFlow::Break(ConnectionEnd::Closing)
            }
        }
    }

    /// Writes an answer. Returns whether the caller has taken it.
    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<bool> {
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

    /// Closes the connection so that an answer that was just written is not lost: closing with unread input would reset
    /// it. A caller that does not go along is cut off.
    fn poll_close(&mut self, cx: &mut Context<'_>, shut: &mut bool, reads: &mut usize) -> Poll<()> {
        if self.permit.state.poll_order(cx) == CloseRequest::Leave || self.poll_time(cx).is_ready() {
            return Poll::Ready(());
        }
        if !*shut {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            *shut = true;
        }
        while *reads < LINGER_READS + self.expected / CHUNK
            && ready!(self.poll_read(cx)).is_ok_and(|count| count > 0)
        {
            self.input.clear();
            *reads += 1;
        }
        Poll::Ready(())
    }

    /// Ready when the phase has lasted for as long as it may.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limits = &self.context.limits;
        let wait = match self.phase {
            // The request has a deadline of its own.
            Phase::Working => return Poll::Pending,
            Phase::Handshake | Phase::Head => limits.header_timeout,
            Phase::Body => limits.header_timeout + body::time_for(self.expected),
            // One may be on its way.
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
            // It was set for a phase that is over.
            self.timer.as_mut().reset(end);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.permit.state.enter(phase);
    }

    /// Counts that it is closed although its caller kept it open.
    fn count(&self, why: CutReason) {
        self.context.limiter.counts().cut(why);
    }
}

/// Whether there are bytes that the runtime has not heard of yet, which happens when it has much to do.
pub(super) fn has_unseen(socket: RawFd) -> bool {
    recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).is_ok_and(|count| count > 0)
}

/// As much is read at once. It is more than most heads have.
const CHUNK: usize = 4096;
/// As many answers that are refusals a connection gets, unless a call of it was passed on.
const MAX_REFUSALS: usize = 8;
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 64;
/// Room for what was read is taken in steps.
const BUDGET_STEP: usize = 4096;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

mod body;
mod input;
mod output;
#[cfg(test)]
mod tests;
