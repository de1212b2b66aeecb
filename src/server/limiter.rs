//! How many connections there are at once, and which of them goes when one more is to come in.
//!
//! A connection that has no request under way is closed rather than that a new caller waits: thousands of slow heads
//! must not keep anybody out. Those that have said all go first, then those that never brought a call that was passed
//! on, then whoever idles, the longest first. Where every connection is at work, new ones wait in the system's queue,
//! and each answer ends its connection. Each place that becomes free goes to whoever waits for one for longest.

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
    /// A new caller waits and nobody can be spared: then no connection serves for longer than it must.
    crowded: AtomicBool,
    room: ByteBudget,
    counts: Connections,
}

/// That a connection may be open, until this is dropped.
pub(crate) struct Permit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    pub(super) state: Arc<ConnectionState>,
    pub(super) lifetime: ConnectionLifetime,
    /// That it is one of its worker's.
    pub(super) load: Option<WorkerLoad>,
    _place: OwnedSemaphorePermit,
}

/// One connection of a worker's, until this is dropped.
pub(super) struct WorkerLoad(Arc<AtomicUsize>);

/// How long a connection serves: not the same for all, so that callers that came at once, after a restart, do not come
/// back at once.
#[derive(Clone, Copy)]
pub(super) struct ConnectionLifetime {
    /// What is answered after this is answered for the last time.
    pub(super) until: Instant,
    /// As many answers it gives.
    pub(super) requests: usize,
    /// By so much longer than configured it is waited for, or thousands of slow heads would be refused in one moment.
    pub(super) jitter: f64,
}

#[derive(Default)]
struct OpenConnections {
    connections: BTreeMap<u64, Arc<ConnectionState>>,
    next: u64,
    /// The proxy stops.
    stopping: bool,
}

impl ConnectionLimiter {
    /// As many connections as the limits say.
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

    /// A permit for a connection that was accepted, as soon as there is one.
    pub(crate) async fn permit(self: &Arc<Self>) -> Permit {
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            tokio::select! {
                biased;
                place = &mut place => match place {
                    Ok(place) => return self.open(place),
                    // Nobody closes it.
                    Err(_) => std::future::pending().await,
                },
                // Also where nothing was found: what works now may idle soon.
                () = self.make_room_again() => {}
            }
        }
    }

    /// Asks some of the connections that can be spared to leave, unless some that were asked are about to. Returns whether
    /// there are some, now or soon.
    pub(crate) fn make_room(&self) -> bool {
        self.make_room_among(|_| true)
    }

    /// Asks some of those to leave that have room for bytes, whenever there is too little of it.
    pub(super) async fn make_room_for_bytes(self: Arc<Self>) {
        loop {
            self.room.wanted().await;
            self.make_room_among(ConnectionState::holds);
            sleep(POLL_INTERVAL).await;
        }
    }

    /// What all connections may hold of what is no request yet.
    pub(super) fn room(&self) -> &ByteBudget {
        &self.room
    }

    fn make_room_among(&self, counts: impl Fn(&ConnectionState) -> bool) -> bool {
        let open = self.open.lock();
        let now = Instant::now();
        let some = || open.connections.values().filter(|state| counts(state));
        // Who was asked may need longer than a look lasts, and whoever is asked too much is closed for nothing.
        if some().any(|state| state.is_leaving()) {
            return true;
        }
        let all = || some().filter_map(|state| Some((state.eviction_key()?, state)));
        let mut eviction_key: Vec<(EvictionKey, &Arc<ConnectionState>)> = all()
            .filter(|((_, from), _)| *from <= now)
            .map(|((eviction_key, _), state)| (eviction_key, state))
            .collect();
        // More than one, or each new caller in a flood would search anew.
        let count = (eviction_key.len() / 8).clamp(1, MAX_EVICTED).min(eviction_key.len());
        if count > 0 {
            eviction_key.select_nth_unstable_by_key(count - 1, |(eviction_key, _)| *eviction_key);
        }
        for (_, state) in eviction_key.iter().take(count) {
            state.ask(CloseRequest::Leave);
        }
        count > 0 || all().any(|((_, from), _)| from <= now + FIRST_REQUEST_GRACE)
    }

    /// Each connection gives one more answer, or none.
    pub(super) fn stop(&self) {
        let mut open = self.open.lock();
        open.stopping = true;
        for state in open.connections.values() {
            state.ask(CloseRequest::Finish);
        }
    }

    /// Whether every connection is to end with its answer, because others wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// What is counted about connections.
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
    /// Returns when the connection is asked to go, and owes no answer.
    pub(crate) async fn left(&self) {
        self.state.left().await;
    }

    /// A request has come: the connection does not go before there is an answer.
    pub(crate) fn works(&self) {
        self.state.enter(Phase::Working);
    }

    /// There is an answer. It goes to whoever reads it soon.
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

/// How often room is looked for while there is none.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// As many connections are closed at most when one more is to come in; nginx does the same.
const MAX_EVICTED: usize = 32;
/// A connection's lifetime is up to this part shorter than configured.
const LIFETIME_JITTER: f64 = 0.2;
/// It is waited for up to this part longer.
const WAIT_JITTER: f64 = 0.1;

#[cfg(test)]
mod tests;
