//! How is one connection served? HTTP/1.1 by hyper, with every property that hyper leaves open settled.
//!
//! It turns requests into [`Arrival`]s and hands them to the stack. A request that arrived whole is carried out
//! even when its caller hangs up: hyper would drop its future, so that future moves on to a task of its own
//! ([`CarriedOn`]). Broken and slow heads become arrivals too, so they are answered and recorded like any other.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Handle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt};

use super::wire::{Phase, Watch, Wire};
use crate::{
    config::{Hosts, Limits},
    identity::Peer,
    stack::Stack,
    stage::{Arrival, Body, InForce, Refusal},
};

/// What all connections of a listener share.
pub(super) struct Serving {
    pub(super) stack: Stack,
    /// What a connection is met with, as of when it is made.
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) hosts: Arc<Hosts>,
    pub(super) limits: Limits,
    /// Owns the connections, and the requests whose callers hung up.
    pub(super) tasks: TaskTracker,
    pub(super) drain: CancellationToken,
}

/// How serving a connection ended.
enum End {
    Closed(hyper::Result<()>),
    TooSlow(Phase),
}

impl Serving {
    /// Serves a connection until either side ends it.
    pub(super) async fn connection<S>(self: Arc<Self>, stream: S, peer: Arc<Peer>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (wire, watch) = Wire::new(stream);
        let service = service_fn(|request| self.answer(request, Arc::clone(&peer), &watch));
        let mut http = http1::Builder::new();
        if self.limits.headers > HYPER_HEADERS {
            http.max_headers(self.limits.headers);
        }
        let mut connection = http
            // The watchdog below times heads and idleness, each with a limit of its own.
            .header_read_timeout(None)
            .half_close(true)
            .max_header_size(self.limits.header_bytes)
            .max_buf_size(self.limits.header_bytes.max(HYPER_MINIMUM))
            .serve_connection(TokioIo::new(wire), service);
        let mut watchdog = pin!(too_slow(&self.limits, &watch));
        let mut drain = pin!(self.drain.cancelled());
        let mut draining = false;
        let end = poll_fn(|cx| {
            if !draining && drain.as_mut().poll(cx).is_ready() {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
                return Poll::Ready(End::Closed(result));
            }
            watchdog.as_mut().poll(cx).map(End::TooSlow)
        })
        .await;
        let stream = connection.into_parts().io.into_inner().into_inner();
        match refusal(end, &watch) {
            Some(refusal) => self.refuse(stream, refusal, peer).await,
            None => close(stream).await,
        }
    }

    fn answer(&self, request: Request<Incoming>, peer: Arc<Peer>, watch: &Watch) -> CarriedOn {
        let fault = watch.head_parsed();
        // No operation has a body; a request that announces one is refused by its headers.
        let (head, _) = request.into_parts();
        let head = fault.map_or(Ok(head), |fault| Err(Refusal::BadRequest(fault)));
        CarriedOn {
            answering: Some(self.stack.clone().call(Arrival { head, peer, hosts: Arc::clone(&self.hosts) })),
            watch: watch.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Answers a head that hyper could not parse, or that did not arrive.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        refusal: Refusal,
        peer: Arc<Peer>,
    ) {
        let arrival = Arrival { head: Err(refusal), peer, hosts: Arc::clone(&self.hosts) };
        let Ok(answer) = self.stack.clone().oneshot(arrival).await;
        let bytes = on_the_wire(answer).await;
        if let Ok(Ok(())) = timeout(LINGER, stream.write_all(&bytes)).await {
            close(stream).await;
        }
    }
}

/// An answer that is being worked on. When hyper drops it, because the caller hung up, the work goes on.
struct CarriedOn {
    answering: Option<<Stack as Service<Arrival>>::Future>,
    watch: Watch,
    tasks: TaskTracker,
}

impl Future for CarriedOn {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answering) = &mut self.answering else { return Poll::Pending };
        let answer = std::task::ready!(Pin::new(answering).poll(cx));
        self.answering = None;
        self.watch.answer_ready();
        Poll::Ready(answer)
    }
}

impl Drop for CarriedOn {
    fn drop(&mut self) {
        // Outside a runtime there is nothing to carry on with: the record then says so.
        if let (Some(answering), Ok(runtime)) = (self.answering.take(), Handle::try_current()) {
            drop(self.tasks.spawn_on(answering, &runtime));
        }
    }
}

/// Returns the phase that a connection has been in for too long.
async fn too_slow(limits: &Limits, watch: &Watch) -> Phase {
    loop {
        let ((phase, since), now) = (watch.phase(), Instant::now());
        let end = match phase {
            Phase::Head => since + limits.header_timeout,
            Phase::Idle | Phase::Answering => since + limits.idle_timeout,
            // The request has a deadline of its own. Whatever begins after it cannot be over before this.
            Phase::Working => now + limits.idle_timeout,
        };
        if end <= now {
            return phase;
        }
        tokio::select! {
            () = sleep_until(end) => {}
            () = watch.slow_head() => {}
        }
    }
}

/// What is to be said to a caller whose connection ended so. `None` where it hung up, or has no request open.
fn refusal(end: End, watch: &Watch) -> Option<Refusal> {
    let phase = watch.phase().0;
    match end {
        End::Closed(Err(error)) if error.is_parse() && phase != Phase::Answering => {
            Some(watch.broken_head(error.is_parse_too_large()))
        }
        End::TooSlow(Phase::Head) => Some(Refusal::RequestTimeout),
        End::Closed(_) | End::TooSlow(_) => None,
    }
}

/// The answer as hyper would have written it, on a connection that ends with it.
async fn on_the_wire(answer: Response<Body>) -> Vec<u8> {
    let (head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    let body = body.to_bytes();
    let mut out = Vec::with_capacity(512 + body.len());
    out.extend_from_slice(
        format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", head.status, body.len()).as_bytes(),
    );
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    out
}

/// Closes a connection so that an answer that was just written is not lost: closing with unread input would
/// reset it.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drained = async {
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        for _ in 0..LINGER_READS {
            if stream.read(&mut discarded).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // A caller that does not go along is cut off.
    drop(timeout(LINGER, drained).await);
}

/// hyper has no smaller buffer.
const HYPER_MINIMUM: usize = 8192;
/// hyper takes as many headers unless told otherwise, and without allocating for them.
const HYPER_HEADERS: usize = 100;
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_dropped_half_way_is_worked_on_to_its_end() {
        let (_wire, watch) = Wire::new(tokio::io::empty());
        let (tasks, (done, was_done)) = (TaskTracker::new(), oneshot::channel());
        let answering = Box::pin(async {
            yield_now().await;
            done.send(()).unwrap();
            Ok(Response::new(Full::new(Bytes::new())))
        });
        let mut carried = CarriedOn { answering: Some(answering), watch, tasks: tasks.clone() };
        let half_way = poll_fn(|cx| Poll::Ready(Pin::new(&mut carried).poll(cx).is_pending())).await;
        assert!(half_way);
        drop(carried);
        tasks.close();
        tasks.wait().await;
        assert_eq!(was_done.await, Ok(()));
    }
}
