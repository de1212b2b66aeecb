//! Limits the number of connections, and chooses which to close when a new one needs the room.
//!
//! A connection without a request in flight is closed rather than make a new caller wait: thousands of slow heads must not
//! lock anybody out. First go those that are finished, then those that never had a call passed on, then the longest idle. If
//! all have a request in flight, new ones wait in the kernel's queue, and each answer ends its connection. A free permit
//! goes to the connection that has waited longest.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::state::{CloseRequest, ConnectionState, EvictionKey, FIRST_REQUEST_GRACE, Phase};
use crate::{config::Limits, limit::ByteBudget, metrics::Connections};

/// The limit that all listeners share.
pub(crate) struct ConnectionLimiter {
    lifetime: Duration,
    requests: usize,
    places: Arc<Semaphore>,
    open: Mutex<OpenConnections>,
    /// Whether a new caller waits although no connection can be closed; then each connection ends with its next answer.
    crowded: AtomicBool,
    room: ByteBudget,
    counts: Connections,
}

/// The permit of an open connection, returned on drop.
pub(crate) struct Permit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    pub(super) state: Arc<ConnectionState>,
    pub(super) lifetime: ConnectionLifetime,
    /// Counts it among its worker's connections.
    pub(super) load: Option<WorkerLoad>,
    _place: OwnedSemaphorePermit,
}

/// Counts one connection of a worker, until it is dropped.
pub(super) struct WorkerLoad(Arc<AtomicUsize>);

/// How long a connection serves, with jitter: callers that connected together after a restart must not reconnect together.
#[derive(Clone, Copy)]
pub(super) struct ConnectionLifetime {
    /// After this time the next answer is the last.
    pub(super) until: Instant,
    /// The maximum number of answers.
    pub(super) requests: usize,
    /// The share by which its time-outs are longer than configured, so that thousands of slow heads do not time out at once.
    pub(super) jitter: f64,
}

#[derive(Default)]
struct OpenConnections {
    connections: BTreeMap<u64, Arc<ConnectionState>>,
    next: u64,
    /// Whether the proxy is stopping.
    stopping: bool,
}

impl ConnectionLimiter {
    /// Creates a limiter with the configured maximum.
    pub(crate) fn new(limits: &Limits, counts: Connections) -> Arc<Self> {
        counts.limit(limits.connections);
        Arc::new(Self {
            lifetime: limits.connection_lifetime,
            requests: limits.connection_requests,
            places: Arc::new(Semaphore::new(limits.connections)),
            open: Mutex::default(),
            crowded: AtomicBool::new(false),
            room: ByteBudget::new(limits.buffer_bytes),
            counts,
        })
    }

    /// Waits for a permit for an accepted connection.
    pub(crate) async fn permit(self: &Arc<Self>) -> Permit {
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            tokio::select! {
                biased;
                place = &mut place => match place {
                    Ok(place) => return self.open(place),
                    // The semaphore is never closed.
                    Err(_) => std::future::pending().await,
                },
                // Repeated even if none could be closed: a busy connection may be idle soon.
                () = self.make_room_again() => {}
            }
        }
    }

    /// Asks some connections to leave, unless some are already leaving. Returns whether any can be closed, now or soon.
    pub(crate) fn make_room(&self) -> bool {
        self.make_room_among(|_| true)
    }

    /// Asks connections that hold memory to leave, whenever there is too little.
    pub(super) async fn make_room_for_bytes(self: Arc<Self>) {
        loop {
            self.room.wanted().await;
            self.make_room_among(ConnectionState::holds);
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the budget for bytes that are not a request yet.
    pub(super) fn room(&self) -> &ByteBudget {
        &self.room
    }

    fn make_room_among(&self, counts: impl Fn(&ConnectionState) -> bool) -> bool {
        let open = self.open.lock();
        let now = Instant::now();
        let some = || open.connections.values().filter(|state| counts(state));
        // Leaving can take longer than one poll, and asking more would close connections for nothing.
        if some().any(|state| state.is_leaving()) {
            return true;
        }
        let all = || some().filter_map(|state| Some((state.eviction_key()?, state)));
        let mut eviction_key: Vec<(EvictionKey, &Arc<ConnectionState>)> = all()
            .filter(|((_, from), _)| *from <= now)
            .map(|((eviction_key, _), state)| (eviction_key, state))
            .collect();
        // Several at once, or in a flood each new caller would search again.
        let count = (eviction_key.len() / 8).clamp(1, MAX_EVICTED).min(eviction_key.len());
        if count > 0 {
            eviction_key.select_nth_unstable_by_key(count - 1, |(eviction_key, _)| *eviction_key);
        }
        for (_, state) in eviction_key.iter().take(count) {
            state.ask(CloseRequest::Leave);
        }
        count > 0 || all().any(|((_, from), _)| from <= now + FIRST_REQUEST_GRACE)
    }

    /// Stops the proxy's connections: each gives at most one more answer.
    pub(super) fn stop(&self) {
        let mut open = self.open.lock();
        open.stopping = true;
        for state in open.connections.values() {
            state.ask(CloseRequest::Finish);
        }
    }

    /// Whether each connection is to end with its next answer, because others wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// Returns the counters of connections.
    pub(super) fn counts(&self) -> &Connections {
        &self.counts
    }

    async fn make_room_again(&self) {
        self.crowded.store(!self.make_room(), Relaxed);
        sleep(POLL_INTERVAL).await;
    }

    fn open(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Permit {
        self.crowded.store(false, Relaxed);
        let mut open = self.open.lock();
        let order = if open.stopping { CloseRequest::Finish } else { CloseRequest::Stay };
        let state = Arc::new(ConnectionState::new(order));
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Arc::clone(&state));
        drop(open);
        self.counts.opened();
        Permit {
            limiter: Arc::clone(self),
            number,
            state,
            lifetime: self.lifetime(),
            load: None,
            _place: place,
        }
    }

    fn lifetime(&self) -> ConnectionLifetime {
        let random = fastrand::f64();
        let lifetime = self.lifetime.mul_f64(1.0 - random * LIFETIME_JITTER);
        ConnectionLifetime {
            until: Instant::now() + lifetime,
            requests: self.requests,
            jitter: 1.0 + random * WAIT_JITTER,
        }
    }
}

impl Permit {
    /// Returns when the connection is asked to leave and owes no answer.
    pub(crate) async fn left(&self) {
        self.state.left().await;
    }

    /// Notes a request in flight: the connection does not leave before it is answered.
    pub(crate) fn works(&self) {
        self.state.enter(Phase::Working);
    }

    /// Notes that an answer is being written; the connection may leave if the caller is slow to read it.
    pub(crate) fn answers(&self) {
        self.state.enter(Phase::Answering);
    }
}

impl WorkerLoad {
    pub(super) fn of(worker: &Arc<AtomicUsize>) -> Self {
        worker.fetch_add(1, Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for WorkerLoad {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.open.lock().connections.remove(&self.number);
        self.limiter.counts.closed();
    }
}

/// How often to look for connections to close.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The maximum number of connections closed for a new one, as in nginx.
const MAX_EVICTED: usize = 32;
/// The largest share by which a connection's lifetime is shorter than configured.
const LIFETIME_JITTER: f64 = 0.2;
/// The largest share by which its time-outs are longer.
const WAIT_JITTER: f64 = 0.1;

#[cfg(test)]
mod tests;
