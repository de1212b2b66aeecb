//! How is one connection served? HTTP/1.1 by hyper, with every property that hyper leaves open settled.
//!
//! It turns requests into [`Arrival`]s and hands them to the stack. A request that arrived whole is carried out
//! even when its caller hangs up: hyper would drop its future, so that future moves on to a task of its own
//! ([`CarriedOn`]). Broken and slow heads become arrivals too, so they are answered and recorded like any other.

use std::{
    convert::Infallible,
    future::poll_fn,
    os::fd::{AsRawFd, RawFd},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Handle,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use super::{
    room::{Place, Room},
    watch::{Phase, Watch},
    wire::{Told, Wire},
};
use crate::{
    config::{Hosts, Limits},
    identity::Peer,
    metrics::Cut,
    stack::Stack,
    stage::{Arrival, Body, InForce, Refusal, is_passed_on},
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
    /// Of all listeners.
    pub(super) room: Arc<Room>,
}

/// How serving a connection ended.
enum End {
    Closed(hyper::Result<()>),
    TooSlow(Phase),
}

impl Serving {
    /// Serves a connection until either side ends it. Its place is given back after that.
    ///
    /// Most connections wait most of the time. What is needed only when there is a head, hyper above all, is allocated
    /// when there is one.
    pub(super) async fn connection<S>(self: Arc<Self>, stream: S, peer: Arc<Peer>, place: &Place)
    where
        S: AsyncRead + AsyncWrite + AsRawFd + Unpin + Send + 'static,
    {
        let (watch, socket) = (&place.watch, stream.as_raw_fd());
        let mut watchdog = pin!(watch.too_slow(&self.limits));
        let mut too_slow = |cx: &mut Context<'_>| {
            let phase = ready!(watchdog.as_mut().poll(cx));
            if phase != Phase::Answering && has_unseen(socket) {
                watchdog.set(watch.too_slow(&self.limits));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(End::TooSlow(phase))
        };
        let mut wire = Wire::new(stream, watch.clone(), self.limits.header_bytes);
        let end = loop {
            let arrived = poll_fn(|cx| match wire.poll_head(cx) {
                Poll::Ready(arrived) => Poll::Ready(Ok(matches!(arrived, Ok(true)))),
                Poll::Pending => too_slow(cx).map(Err),
            });
            match arrived.await {
                Ok(true) => {}
                Ok(false) => break End::Closed(Ok(())),
                Err(end) => break end,
            }
            let ended;
            (wire, ended) = Box::pin(self.exchange(wire, (&peer, watch), &mut too_slow)).await;
            if let Some(end) = ended {
                break end;
            }
        };
        Box::pin(self.end(wire.into_inner(), end, (peer, watch))).await;
    }

    /// Answers what has arrived. Returns how that ended the connection, or `None` where it waits for another head.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        wire: Wire<S>,
        (peer, watch): (&Arc<Peer>, &Watch),
        mut too_slow: impl FnMut(&mut Context<'_>) -> Poll<End>,
    ) -> (Wire<S>, Option<End>) {
        let service = service_fn(|request| self.answer(request, Arc::clone(peer), watch));
        let mut connection = self.http().serve_connection(TokioIo::new(wire), service);
        let end = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(Some(End::Closed(result))),
            Poll::Pending if watch.is_at_rest() => Poll::Ready(None),
            Poll::Pending => too_slow(cx).map(Some),
        });
        let end = end.await;
        (connection.into_parts().io.into_inner(), end)
    }

    fn http(&self) -> http1::Builder {
        let mut http = http1::Builder::new();
        if self.limits.headers > HYPER_HEADERS {
            http.max_headers(self.limits.headers);
        }
        // The watchdog times heads and idleness, each with a limit of its own.
        http.header_read_timeout(None)
            .half_close(true)
            .max_header_size(self.limits.header_bytes)
            .max_buf_size(self.limits.header_bytes.max(HYPER_MINIMUM));
        http
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

    /// Says what there is to be said to a caller whose connection ended so, and closes it.
    async fn end<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        end: End,
        (peer, watch): (Arc<Peer>, &Watch),
    ) {
        if let End::TooSlow(phase) = &end {
            self.count(*phase, watch);
            if watch.is_cut() {
                // What is there of a head is no request. Another caller waits: no time for words.
                return;
            }
        }
        match self.refusal(end, watch) {
            Some(refusal) => self.refuse(stream, (refusal, peer), watch).await,
            None => close(stream, watch).await,
        }
    }

    /// What is to be said to a caller whose connection ended so. `None` where it hung up, or has no request open.
    fn refusal(&self, end: End, watch: &Watch) -> Option<Refusal> {
        match end {
            End::Closed(Err(error)) if error.is_parse() => {
                Some(watch.broken_head(error.is_parse_too_large(), &self.limits))
            }
            End::TooSlow(Phase::Head) => Some(Refusal::RequestTimeout),
            End::Closed(_) | End::TooSlow(_) => None,
        }
    }

    /// Answers a head that hyper could not parse, or that did not arrive.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        (refusal, peer): (Refusal, Arc<Peer>),
        watch: &Watch,
    ) {
        let arrival = Arrival { head: Err(refusal), peer, hosts: Arc::clone(&self.hosts) };
        let Ok(mut answer) = self.stack.clone().oneshot(arrival).await;
        answer.headers_mut().insert(CONNECTION, CLOSE);
        let bytes = on_the_wire(answer).await;
        if let Some(Ok(())) = linger(stream.write_all(&bytes), watch).await {
            close(stream, watch).await;
        }
    }

    /// Counts a connection that was closed although its caller kept it open.
    fn count(&self, phase: Phase, watch: &Watch) {
        let why = match phase {
            _ if watch.is_cut() => Cut::Crowded,
            Phase::Handshake | Phase::Head => Cut::Head,
            Phase::Idle => Cut::Idle,
            // What works is never too slow.
            Phase::Working | Phase::Answering => Cut::Answer,
        };
        self.room.counts().cut(why);
    }
}

/// An answer that is being worked on. When hyper drops it, because the caller hung up, the work goes on.
struct CarriedOn {
    answering: Option<<Stack as Service<Arrival>>::Future>,
    watch: Watch,
    tasks: TaskTracker,
}

impl Future for CarriedOn {
    type Output = Result<Response<Told>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answering) = &mut self.answering else { return Poll::Pending };
        let Ok(mut answer) = ready!(Pin::new(answering).poll(cx));
        self.answering = None;
        if self.watch.answer_ready(|| is_passed_on(&answer)) {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
        Poll::Ready(Ok(answer.map(|body| Told::new(body, self.watch.clone()))))
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

/// Whether there are bytes that the runtime has not heard of yet, which happens when it has much to do. A connection
/// is not closed over a request that has arrived.
pub(super) fn has_unseen(socket: RawFd) -> bool {
    recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).is_ok()
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
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, watch: &Watch) {
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
    drop(linger(drained, watch).await);
}

/// Waits for a while. Where another connection needs the room, for nothing.
async fn linger<T>(end: impl Future<Output = T>, watch: &Watch) -> Option<T> {
    tokio::select! {
        biased;
        end = timeout(LINGER, end) => end.ok(),
        () = watch.until_cut() => None,
    }
}

/// hyper has no smaller buffer.
const HYPER_MINIMUM: usize = 8192;
/// hyper takes as many headers unless told otherwise, and without allocating for them.
const HYPER_HEADERS: usize = 100;
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 64;
const CLOSE: HeaderValue = HeaderValue::from_static("close");

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::{sync::oneshot, task::yield_now, time::Instant};

    use super::{super::watch::Life, *};

    #[tokio::test]
    async fn an_answer_that_is_dropped_half_way_is_worked_on_to_its_end() {
        let life = Life { until: Instant::now(), requests: 1, stretch: 1.0 };
        let watch = Watch::new(life, None, Arc::default());
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
