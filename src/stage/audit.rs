//! Was it recorded? Exactly one record a request, whatever happens to it: [`Arrival`] → [`Recorded`].
//!
//! It stands outside everything. The record is written by a guard when the request's future is dropped: finished,
//! abandoned, cut by a time-out or unwound by a panic. Before anything else happens, room for the record is
//! taken; where there is none the request is refused.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Response, request::Parts};
use tokio::time::Instant;
use tower::{Layer, Service};
use uuid::Uuid;

use super::{Body, Refusal, respond::refuse};
use crate::{
    audit::{Blocked, Recent, Sink, Slot, Trail},
    clock,
    config::Hosts,
    identity::{Peer, PeerAddress},
    metrics::{InFlight, Metrics},
};

/// A request as the server hands it over.
pub struct Arrival {
    /// The parsed head; or why there is none, where the bytes were no acceptable head.
    pub head: Result<Parts, Refusal>,
    /// Who sent it, by connection.
    pub peer: Arc<Peer>,
    /// The hosts its listener answers to.
    pub hosts: Arc<Hosts>,
}

/// A request that has a record.
pub struct Recorded {
    arrival: Arrival,
    trail: Trail,
}

/// Wraps everything in [`Audit`].
#[derive(Clone)]
pub struct AuditLayer {
    shared: Arc<Shared>,
}

/// Opens and closes the record of each request.
#[derive(Clone)]
pub struct Audit<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    sink: Sink,
    recent: Arc<Recent>,
    metrics: Arc<Metrics>,
    hostname: String,
}

impl Recorded {
    /// A request whose record nobody writes: to decide on it, and no more.
    #[cfg(any(test, fuzzing))]
    pub(super) fn unwritten(arrival: Arrival, trail: Trail) -> Self {
        Self { arrival, trail }
    }

    pub(super) fn into_parts(self) -> (Arrival, Trail) {
        (self.arrival, self.trail)
    }

    pub(super) fn trail(&self) -> &Trail {
        &self.trail
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.arrival.peer
    }
}

impl AuditLayer {
    /// Writes records to `sink` and keeps some in `recent`. The host's name becomes part of request ids, as in
    /// Huawei's own.
    pub fn new(sink: Sink, recent: Arc<Recent>, metrics: Arc<Metrics>, hostname: String) -> Self {
        Self { shared: Arc::new(Shared { sink, recent, metrics, hostname }) }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit { inner, shared: Arc::clone(&self.shared) }
    }
}

impl<S> Service<Arrival> for Audit<S>
where
    S: Service<Recorded, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let mut guard = self.shared.open(&arrival.peer);
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let answer = match guard.take_slot().await {
                Ok(()) => inner.call(Recorded { arrival, trail: guard.trail.clone() }).await?,
                Err(Blocked) => refuse(&Refusal::AuditBlocked, &guard.trail, arrival.peer.local),
            };
            guard.answered(&answer);
            Ok(answer)
        })
    }
}

impl Shared {
    fn open(self: &Arc<Self>, peer: &Peer) -> Guard {
        let now = clock::now();
        // Huawei's format: uuid, timestamp, host.
        let id = format!("{}-{}-{}", Uuid::new_v4().hyphenated(), now.timestamp_millis(), self.hostname);
        let address = match &peer.address {
            PeerAddress::Tcp { address, .. } => address.ip().to_canonical().to_string(),
            PeerAddress::Unix { uid, .. } => format!("uid:{uid}"),
        };
        let trail = Trail::new(id.into(), Arc::clone(&peer.listener), address, now);
        Guard {
            slot: None,
            trail,
            started: Instant::now(),
            shared: Arc::clone(self),
            _in_flight: self.metrics.in_flight(),
        }
    }
}

/// Writes the record when it is dropped.
struct Guard {
    slot: Option<Slot>,
    trail: Trail,
    started: Instant,
    shared: Arc<Shared>,
    _in_flight: InFlight,
}

impl Guard {
    /// Before anything is done: what cannot be recorded is not done.
    async fn take_slot(&mut self) -> Result<(), Blocked> {
        self.slot = Some(self.shared.sink.reserve().await?);
        Ok(())
    }

    fn answered(&mut self, answer: &Response<Body>) {
        self.trail.note().status = Some(answer.status().as_u16());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let mut record = self.trail.note();
        let line = record.line(took);
        self.shared.metrics.finished(&record, took);
        self.shared.recent.keep(&record, &line);
        drop(record);
        match self.slot.take() {
            Some(slot) => self.shared.sink.spend(slot, line),
            None => self.shared.sink.try_write(line),
        }
    }
}
