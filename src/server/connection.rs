//! One connection of a caller: reads a head and its body, calls the stack, writes the answer, and reads the next head.
//!
//! One loop owns all of its state. While the stack works nothing is read, so a caller that hangs up or half-closes changes
//! nothing: its call is finished and recorded. A head that is invalid or late becomes an arrival like any other, so the
//! same stack answers and records it. Every wait has a time limit, and ends if the limiter needs the room.

mod body;
mod input;
mod output;
mod parts;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Method, Response, header::CONNECTION};
use tokio::time::Instant;

use self::{
    input::{CHUNK, ReadOutcome},
    output::Output,
    parts::Request,
};
use super::{
    answer::{self, Framing},
    caller_stream::CallerStream,
    head::{Head, HeadFault},
    state::{CloseRequest, Phase},
};
use crate::{
    metrics::CutReason,
    stage::{Arrival, Body, Payload, Refusal, Service, is_passed_on},
};

pub(super) use self::parts::Connection;

/// The result of waiting for a request: a head or its fault, or the end of the connection.
type NextRequest = ControlFlow<ConnectionEnd, Result<Head, HeadFault>>;

/// How a connection ends without another request.
enum ConnectionEnd {
    /// No request will come, or none is waited for any more.
    Closing,
    /// Another connection needs the room, so it is closed without an answer.
    Cut,
}

impl<S: CallerStream> Connection<S> {
    /// Serves the connection until either side ends it.
    ///
    /// Most connections wait most of the time, so a wait holds little memory: it keeps no read buffer, and the stack's
    /// future is on the heap only while there is one.
    pub(super) async fn serve(&mut self) {
        loop {
            let head = match poll_fn(|cx| self.poll_request(cx)).await {
                ControlFlow::Continue(head) => head,
                ControlFlow::Break(ConnectionEnd::Closing) => break,
                ControlFlow::Break(ConnectionEnd::Cut) => return,
            };
            let request = match head {
                // Boxed, because few requests have a body, and every connection would pay for the space.
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

    /// Has the stack answer a request. Meanwhile nothing is read from the caller.
    async fn answer(&mut self, request: Request) -> (Response<Body>, Framing) {
        self.enter(Phase::Working);
        self.requests += 1;
        let Request { head, payload } = request;
        // The bytes after it may be the rest of a body, not a request.
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

    /// Notes how a request was answered. Returns whether it was the connection's last.
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

    /// Ends the wait for a head.
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

    /// Closes the connection without losing the answer just written: closing with unread input would reset it. A caller that
    /// does not close its side is cut off.
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
}

/// The maximum number of refusals on a connection that has never had a call passed on.
const MAX_REFUSALS: usize = 8;
const LINGER_READS: usize = 64;
