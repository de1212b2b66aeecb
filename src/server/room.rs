//! Is there room for one more connection? The open ones, up to a cap, and which of them has to go when it is reached.
//!
//! A connection that has no request under way is closed rather than that a new caller waits: thousands of slow heads
//! must not keep anybody out. Those that never brought a call that was passed on go first, then whoever idles, the
//! longest first.
//! Where every connection is at work, new ones wait in the system's queue, and each answer ends its connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::watch::{GRACE, Life, Spare, Watch};
use crate::{config::Limits, metrics::Connections};

/// The room that all listeners share.
pub(super) struct Room {
    cap: usize,
    lifetime: Duration,
    requests: usize,
    open: Mutex<Open>,
    left: Notify,
    crowded: Arc<AtomicBool>,
    counts: Connections,
}

/// A connection's place in the room, which is given back when this is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    pub(super) watch: Watch,
}

#[derive(Default)]
struct Open {
    connections: BTreeMap<u64, Watch>,
    next: u64,
    /// So many of them have been told to go, and have not gone yet.
    going: usize,
    /// The proxy stops: how long the next request of a connection is waited for.
    farewell: Option<Duration>,
}

impl Room {
    /// Room for as many connections as the limits say.
    pub(super) fn new(limits: &Limits, counts: Connections) -> Arc<Self> {
        counts.limit(limits.connections);
        Arc::new(Self {
            cap: limits.connections,
            lifetime: limits.connection_lifetime,
            requests: limits.connection_requests,
            open: Mutex::default(),
            left: Notify::new(),
            crowded: Arc::default(),
            counts,
        })
    }

    /// A place for a connection that was accepted, as soon as there is one.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            let left = self.left.notified();
            if let Some(place) = self.enter() {
                self.crowded.store(false, Relaxed);
                return place;
            }
            // Also where nothing was found: what works now may idle soon.
            drop(timeout(TICK, left).await);
        }
    }

    /// Closes some of the connections that can be spared. Returns whether there are some, now or soon.
    pub(super) fn make_room(&self) -> bool {
        self.open().make_room()
    }

    /// Each connection gives one more answer, which it waits for no longer than this, or none.
    pub(super) fn say_farewell(&self, wait: Duration) {
        let mut open = self.open();
        open.farewell = Some(wait);
        open.connections.values().for_each(|watch| watch.say_farewell(wait));
    }

    /// What is counted about connections.
    pub(super) fn counts(&self) -> &Connections {
        &self.counts
    }

    fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        // Those that go are as good as gone, but some hold their descriptors a little longer.
        if open.connections.len() >= self.cap + AT_ONCE {
            return None;
        }
        if open.staying() >= self.cap {
            let some = open.make_room();
            self.crowded.store(!some, Relaxed);
            if open.staying() >= self.cap {
                return None;
            }
        }
        let watch = Watch::new(self.life(), open.farewell, Arc::clone(&self.crowded));
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, watch.clone());
        self.counts.opened();
        Some(Place { room: Arc::clone(self), number, watch })
    }

    /// Not the same for all, so that callers that came at once, after a restart, do not come back at once.
    fn life(&self) -> Life {
        let random = fastrand::f64();
        let lifetime = self.lifetime.mul_f64(1.0 - random * SHORTER);
        let stretch = 1.0 + random * LONGER;
        Life { until: Instant::now() + lifetime, requests: self.requests, stretch }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn staying(&self) -> usize {
        self.connections.len() - self.going
    }

    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        let all = || self.connections.values().filter_map(|watch| Some((watch.spare()?, watch)));
        let mut spare: Vec<(Spare, &Watch)> =
            all().filter(|((_, from), _)| *from <= now).map(|((spare, _), watch)| (spare, watch)).collect();
        // More than one, or each new caller in a flood would search anew.
        let count = (spare.len() / 8).clamp(1, AT_ONCE).min(spare.len());
        if count > 0 {
            spare.select_nth_unstable_by_key(count - 1, |(spare, _)| *spare);
        }
        for (_, watch) in spare.iter().take(count) {
            watch.cut();
        }
        let some = count > 0 || all().any(|((_, from), _)| from <= now + GRACE);
        self.going += count;
        some
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut open = self.room.open();
            open.connections.remove(&self.number);
            open.going -= usize::from(self.watch.is_cut());
        }
        self.room.counts.closed();
        self.room.left.notify_one();
    }
}

const TICK: Duration = Duration::from_millis(10);
/// As many connections are closed at most when one more is to come in; nginx does the same.
const AT_ONCE: usize = 32;
/// A connection's lifetime is up to this part shorter than configured.
const SHORTER: f64 = 0.2;
/// It is waited for up to this part longer.
const LONGER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cap: usize) -> Arc<Room> {
        Room::new(&Limits { connections: cap, ..Limits::default() }, Connections::default())
    }

    fn cut(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.watch.is_cut()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_never_brought_a_call_goes_first() {
        let room = room(3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(room.place().await);
            tokio::time::advance(SECOND).await;
        }
        let proven = &places[0].watch;
        proven.begin();
        proven.head_parsed();
        proven.answer_ready(|| true);
        proven.answer_taken();
        proven.flushed();
        tokio::time::advance(SECOND).await;
        assert!(room.make_room());
        assert_eq!(cut(&places), [false, true, false]);
        assert!(room.make_room());
        assert_eq!(cut(&places), [false, true, true]);
        assert!(room.make_room());
        assert_eq!(cut(&places), [true; 3]);
        assert!(!room.make_room());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_room_has_a_place_once_one_was_given_back() {
        let room = room(1);
        let first = room.place().await;
        first.watch.begin();
        first.watch.head_parsed();
        let mut second = std::pin::pin!(room.place());
        assert!(timeout(Duration::from_secs(9), &mut second).await.is_err(), "the first is at work");
        assert!(first.watch.answer_ready(|| true), "its answer is its last");
        drop(first);
        let second = second.await;
        second.watch.begin();
        second.watch.head_parsed();
        assert!(!second.watch.answer_ready(|| true));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_after_the_farewell_hears_it_too() {
        let room = room(2);
        let before = room.place().await;
        room.say_farewell(SECOND);
        for place in [before, room.place().await] {
            place.watch.begin();
            place.watch.head_parsed();
            assert!(place.watch.answer_ready(|| true));
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lifetimes_differ_and_none_is_longer_than_configured() {
        let room = room(1);
        let lifetimes: Vec<Duration> = (0..100).map(|_| room.life().until - Instant::now()).collect();
        let most = Limits::default().connection_lifetime;
        assert!(lifetimes.iter().all(|life| (most.mul_f64(0.79)..=most).contains(life)), "{lifetimes:?}");
        assert!(lifetimes.iter().max() > lifetimes.iter().min());
    }
}
