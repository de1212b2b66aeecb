//! Writes exactly one audit record per request, whatever happens to it: [`Arrival`] → [`Recorded`].
//!
//! This is the outermost stage. Its future owns the record and lends it to the stages; the record is written when that
//! future is dropped: finished, abandoned, timed out or unwound by a panic. Space for the record is reserved first; without
//! it the request is refused.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use tokio::time::Instant;
use tower::Layer;

use super::{Body, Refusal, Service, response::refuse};
use crate::{
    audit::{Blocked, Recent, Record, Sink, Slot, request_id},
    clock,
    config::Hosts,
    identity::{Peer, PeerAddress},
    limit::ByteReservation,
    metrics::{InFlight, Metrics},
};

/// A request as the server hands it to the stack.
pub struct Arrival {
    /// The parsed head, or the refusal of an unacceptable one.
    pub head: Result<Box<Parts>, Refusal>,
    /// Its body.
    pub payload: Payload,
    /// The other end of the connection.
    pub peer: Arc<Peer>,
    /// The hosts that its listener accepts.
    pub hosts: Arc<Hosts>,
}

/// The body of a request.
pub enum Payload {
    /// The request has no body.
    None,
    /// The body was read to its end.
    Whole(Box<BufferedBody>),
    /// The body was not read, and the request ends with this refusal. The bytes that follow are not a request.
    Missing(Box<Refusal>),
}

/// A body as received, and the memory that it holds.
pub struct BufferedBody {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their reservation.
    pub room: Option<ByteReservation>,
}

/// A request that has a record.
pub struct Recorded<'r> {
    pub(super) arrival: Arrival,
    pub(super) record: &'r mut Record,
}

/// Wraps everything in [`Audit`].
#[derive(Clone)]
pub struct AuditLayer {
    sink: Sink,
    recent: Arc<Recent>,
    metrics: Arc<Metrics>,
    hostname: Arc<str>,
}

/// Opens and closes the record of each request.
pub struct Audit<S> {
    inner: S,
    records: AuditLayer,
}

impl<'r> Recorded<'r> {
    /// Creates a request with a borrowed record.
    pub(crate) fn new(arrival: Arrival, record: &'r mut Record) -> Self {
        Self { arrival, record }
    }
}

impl AuditLayer {
    /// Writes records to `sink` and keeps some in `recent`. Request ids contain the host's name, as Huawei's own do.
    pub fn new(sink: Sink, recent: Arc<Recent>, metrics: Arc<Metrics>, hostname: Arc<str>) -> Self {
        Self { sink, recent, metrics, hostname }
    }

    fn open(&self, peer: &Peer) -> Guard<'_> {
        let now = clock::now();
        Guard {
            record: Record::new(
                request_id(now, &self.hostname).into(),
                Arc::clone(&peer.listener),
                name(&peer.address),
                now,
            ),
            slot: None,
            started: Instant::now(),
            records: self,
            _in_flight: self.metrics.in_flight(),
        }
    }
}

/// Formats the other end for records.
fn name(address: &PeerAddress) -> String {
    match address {
        PeerAddress::Tcp { address, .. } => address.ip().to_canonical().to_string(),
        PeerAddress::Unix { .. } => address.to_string(),
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit { inner, records: self.clone() }
    }
}

impl<S> Service<Arrival> for Audit<S>
where
    S: for<'r> Service<Recorded<'r>, Response = Response<Body>, Error = Infallible> + Sync,
{
    type Response = Response<Body>;
    type Error = Infallible;

    async fn call(&self, arrival: Arrival) -> Result<Response<Body>, Infallible> {
        let mut guard = self.records.open(&arrival.peer);
        let answer = match guard.take_slot().await {
            Ok(()) => self.inner.call(Recorded::new(arrival, &mut guard.record)).await?,
            Err(Blocked) => refuse(&Refusal::AuditBlocked, &mut guard.record, arrival.peer.local),
        };
        guard.record.status = Some(answer.status().as_u16());
        Ok(answer)
    }
}

/// Owns the record and writes it on drop.
struct Guard<'s> {
    record: Record,
    slot: Option<Slot>,
    started: Instant,
    records: &'s AuditLayer,
    _in_flight: InFlight,
}

impl Guard<'_> {
    /// Reserves space for the record. A request that cannot be recorded goes no further.
    async fn take_slot(&mut self) -> Result<(), Blocked> {
        self.slot = Some(self.records.sink.reserve().await?);
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let AuditLayer { sink, recent, metrics, .. } = self.records;
        let line = self.record.line(elapsed);
        metrics.finished(&self.record, elapsed);
        recent.keep(&self.record, &line);
        match self.slot.take() {
            Some(slot) => sink.spend(slot, &line),
            None => sink.try_write(&line),
        }
    }
}
