//! The state of a connection as the limiter sees it: what it waits for, since when, and whether a call of it was passed on.
//!
//! The connection writes it and the limiter reads it; the limiter's requests go the other way. Both are atomics, so a
//! connection never waits to publish its state.

use std::{
    future::poll_fn,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

/// The published state of a connection.
pub(super) struct ConnectionState {
    opened: Instant,
    /// The phase, whether a request has arrived, whether one was passed on, and the milliseconds from `opened` to the start
    /// of the phase.
    now: AtomicU64,
    /// Whether it holds memory for an unfinished request or an answer that was not read yet.
    holds: AtomicBool,
    order: AtomicU8,
    ordered: AtomicWaker,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It performs the TLS handshake.
    Handshake,
    /// It waits for the first byte of a request.
    Idle,
    /// It waits for the rest of a head.
    Head,
    /// It waits for the rest of a body.
    Body,
    /// It owes an answer.
    Working,
    /// It waits for the caller to read its answer.
    Answering,
    /// It has sent everything and closes.
    Closing,
}

/// What a connection is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CloseRequest {
    /// Nothing.
    Stay,
    /// To end after at most one more answer, because the proxy stops.
    Finish,
    /// To leave, because another connection needs the room. A request that has begun meanwhile is still answered.
    Leave,
}

/// The order in which connections without a request in flight are closed: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionKey {
    rank: Rank,
    since: Instant,
}

/// The rank of a connection without a request in flight, the first to be closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It only waits for its last answer to arrive.
    Closing,
    /// No call of it was ever passed on; the oldest goes first.
    Unproven,
    /// It waits for its next request.
    Idle,
    /// Its caller is slow to read an answer.
    Answering,
}

impl ConnectionState {
    /// The state of a connection that was just opened.
    pub(super) fn new(order: CloseRequest) -> Self {
        Self {
            opened: Instant::now(),
            now: AtomicU64::new(Phase::Handshake as u64),
            holds: AtomicBool::new(false),
            order: AtomicU8::new(order as u8),
            ordered: AtomicWaker::new(),
        }
    }

    /// Enters a phase. Returns the time.
    pub(super) fn enter(&self, phase: Phase) -> Instant {
        let now = Instant::now();
        let since = u64::try_from((now - self.opened).as_millis()).unwrap_or(u64::MAX) << BITS;
        let asked = if phase == Phase::Working { ASKED } else { 0 };
        self.now.store(since | self.now.load(Relaxed) & (ASKED | PROVEN) | asked | phase as u64, Relaxed);
        now
    }

    /// Notes whether it holds memory.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.store(holds, Relaxed);
    }

    pub(super) fn holds(&self) -> bool {
        self.holds.load(Relaxed)
    }

    /// Notes that a call of it was passed on.
    pub(super) fn prove(&self) {
        self.now.fetch_or(PROVEN, Relaxed);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.now.load(Relaxed) & PROVEN != 0
    }

    /// Returns what it is asked to do. The task is woken when that changes.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> CloseRequest {
        self.ordered.register(cx.waker());
        self.order()
    }

    pub(super) fn order(&self) -> CloseRequest {
        match self.order.load(Acquire) {
            FINISH => CloseRequest::Finish,
            LEAVE => CloseRequest::Leave,
            _ => CloseRequest::Stay,
        }
    }

    /// Whether it was asked to leave and has no request in flight that delays it.
    pub(super) fn is_leaving(&self) -> bool {
        self.order() == CloseRequest::Leave && self.now.load(Relaxed) & PHASE != WORKING
    }

    /// Returns when it is asked to leave and owes no answer. To be polled by its own task, which polls again after an
    /// answer.
    pub(super) async fn left(&self) {
        poll_fn(|cx| match self.poll_order(cx) {
            CloseRequest::Leave if self.now.load(Relaxed) & PHASE != WORKING => Poll::Ready(()),
            CloseRequest::Leave | CloseRequest::Stay | CloseRequest::Finish => Poll::Pending,
        })
        .await;
    }

    /// Raises the request. Returns whether it is stronger than before.
    pub(super) fn ask(&self, order: CloseRequest) -> bool {
        let more = self.order.fetch_max(order as u8, AcqRel) < order as u8;
        self.ordered.wake();
        more
    }

    /// Returns its rank, if no request is in flight, and when a request is no longer likely to be on its way.
    pub(super) fn eviction_key(&self) -> Option<(EvictionKey, Instant)> {
        let now = self.now.load(Relaxed);
        let since = self.opened + Duration::from_millis(now >> BITS);
        let (proven, asked) = (now & PROVEN != 0, now & ASKED != 0);
        if self.order() == CloseRequest::Leave {
            return None;
        }
        let (rank, since, from) = match now & PHASE {
            WORKING => return None,
            CLOSING => (Rank::Closing, since, since),
            ANSWERING if proven => (Rank::Answering, since, since + IDLE_GRACE),
            ANSWERING => (Rank::Unproven, self.opened, since + IDLE_GRACE),
            _ if proven => (Rank::Idle, since, since + IDLE_GRACE),
            // Its first request may take a while.
            _ if asked => (Rank::Unproven, self.opened, since + FIRST_REQUEST_GRACE),
            _ => (Rank::Unproven, self.opened, self.opened + FIRST_REQUEST_GRACE),
        };
        Some((EvictionKey { rank, since }, from))
    }
}

const WORKING: u64 = Phase::Working as u64;
const ANSWERING: u64 = Phase::Answering as u64;
const CLOSING: u64 = Phase::Closing as u64;
const FINISH: u8 = CloseRequest::Finish as u8;
const LEAVE: u8 = CloseRequest::Leave as u8;
const PHASE: u64 = 0b111;
const ASKED: u64 = 0b1000;
const PROVEN: u64 = 0b1_0000;
const BITS: u32 = 5;
/// The time for a caller's first request.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(50);
/// The time for the next request, and for an answer to be read.
const IDLE_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn rank(state: &ConnectionState) -> Option<Rank> {
        let (eviction_key, from) = state.eviction_key()?;
        (from <= Instant::now()).then_some(eviction_key.rank)
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_said_all_goes_first_then_what_proved_nothing_and_what_works_never() {
        let new = || ConnectionState::new(CloseRequest::Stay);
        let (silent, refused, idle, working, slow, closing) = (new(), new(), new(), new(), new(), new());
        for state in [&refused, &idle, &working, &slow, &closing] {
            state.enter(Phase::Working);
        }
        refused.enter(Phase::Idle);
        closing.enter(Phase::Closing);
        for state in [&idle, &slow] {
            state.prove();
        }
        idle.enter(Phase::Idle);
        slow.enter(Phase::Answering);
        assert_eq!([&silent, &refused, &idle, &slow, &working].map(rank), [None; 5], "in its time of grace");
        assert_eq!(rank(&closing), Some(Rank::Closing), "has none");
        advance(FIRST_REQUEST_GRACE).await;
        assert_eq!([&silent, &refused].map(rank), [Some(Rank::Unproven); 2]);
        assert_eq!([&idle, &slow, &working].map(rank), [None; 3]);
        advance(IDLE_GRACE).await;
        assert_eq!([&idle, &slow, &working].map(rank), [Some(Rank::Idle), Some(Rank::Answering), None]);
        let mut spares: Vec<EvictionKey> = [&slow, &idle, &refused, &silent, &closing]
            .iter()
            .map(|state| state.eviction_key().unwrap().0)
            .collect();
        spares.sort_unstable();
        let ranks: Vec<Rank> = spares.iter().map(|eviction_key| eviction_key.rank).collect();
        assert_eq!(ranks, [Rank::Closing, Rank::Unproven, Rank::Unproven, Rank::Idle, Rank::Answering]);
    }

    #[tokio::test(start_paused = true)]
    async fn orders_only_grow_and_are_given_once() {
        let state = ConnectionState::new(CloseRequest::Stay);
        advance(FIRST_REQUEST_GRACE).await;
        assert!(state.eviction_key().is_some());
        assert_eq!(
            [CloseRequest::Leave, CloseRequest::Finish, CloseRequest::Leave].map(|o| state.ask(o)),
            [true, false, false]
        );
        assert_eq!((state.order(), state.eviction_key()), (CloseRequest::Leave, None));
        assert!(!ConnectionState::new(CloseRequest::Finish).ask(CloseRequest::Finish));
    }
}
