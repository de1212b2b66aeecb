//! Reads the body of a request, if the precheck accepts its head.
//!
//! The connection's own loop reads it before the stack is called, so meanwhile only the memory for the bytes read is held. A
//! body that is not read to its end also ends the connection, because nobody can say where the next head begins.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;

use super::{
    super::{
        caller_stream::CallerStream,
        head::{DeclaredBody, Head},
        state::Phase,
    },
    input::ReadOutcome,
    output::Output,
    parts::{Connection, Request},
};
use crate::{
    metrics::CutReason,
    reason::Reason,
    stage::{BufferedBody, ExpectedBody, Payload, Refusal},
};

impl<S: CallerStream> Connection<S> {
    /// Returns the request with its body, or with the reason why the body was not read.
    pub(super) async fn with_body(&mut self, head: Head) -> Request {
        let announced = head.body.unwrap_or_default();
        self.expected = announced.length.unwrap_or_default();
        let payload = match self.read_body(&head, announced).await {
            Ok(brought) => Payload::Whole(Box::new(brought)),
            Err(refusal) => Payload::Missing(Box::new(refusal)),
        };
        Request { head: Ok(head), payload }
    }

    async fn read_body(&mut self, head: &Head, announced: DeclaredBody) -> Result<BufferedBody, Refusal> {
        let (peer, hosts) = (&*self.peer, &*self.context.hosts);
        let expected = ExpectedBody { head: &head.parts, peer, hosts, length: announced.length };
        let length = self.context.stack.precheck(&expected)?;
        self.enter(Phase::Body);
        self.input.reserve(length.saturating_sub(self.input.len()));
        if announced.is_waited_for && self.input.len() < length {
            let mut out = Output::take();
            out.bytes.extend_from_slice(CONTINUE);
            if !poll_fn(|cx| self.poll_write(cx, &mut out)).await {
                return Err(CUT);
            }
        }
        poll_fn(|cx| self.poll_body(cx, length)).await?;
        let bytes = self.input.split_to(length).freeze();
        let room = self.room.as_mut().and_then(|room| room.split(length));
        // Copied, so that the bytes behind the body do not keep its memory.
        self.input = BytesMut::from(&*self.input);
        self.release();
        Ok(BufferedBody { bytes, room })
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<(), Refusal>> {
        loop {
            match ready!(self.poll_more(cx, length)) {
                ReadOutcome::Read => {}
                ReadOutcome::Enough => return Poll::Ready(Ok(())),
                ReadOutcome::Ended => return Poll::Ready(Err(CUT)),
                ReadOutcome::NotWaitedFor { leave } => {
                    self.count(if leave { CutReason::Crowded } else { CutReason::Body });
                    return Poll::Ready(Err(if leave { Refusal::Overloaded } else { Refusal::BodyTimeout }));
                }
            }
        }
    }
}

const CUT: Refusal = Refusal::BadRequest(Reason::BodyCut);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
