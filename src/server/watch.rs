//! What is a connection waiting for, since when, and for how long may it? Known to all who deal with it: its wire, its
//! service, its watchdog and the room it takes up.
//!
//! It stands between `wire`, which reports what happens, and `connection` and `room`, which decide by it. It closes
//! nothing itself.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::scan::Scan;
use crate::{config::Limits, stage::Refusal};

/// What is known about a connection.
#[derive(Clone)]
pub(super) struct Watch(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// A new caller waits and nobody can be spared: then no connection serves for longer than it must.
    crowded: Arc<AtomicBool>,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The end of its TLS handshake.
    Handshake,
    /// The first byte of a request.
    Idle,
    /// The rest of its head.
    Head,
    /// Its answer, which we owe.
    Working,
    /// The caller, to read it.
    Answering,
}

/// How long a connection serves.
#[derive(Clone, Copy)]
pub(super) struct Life {
    /// What is answered after this is answered for the last time.
    pub(super) until: Instant,
    /// As many answers it gives.
    pub(super) requests: usize,
    /// By so much longer than configured it is waited for: not the same for all, so that thousands of slow heads that
    /// came at once are not refused at once, which would hold up everybody else.
    pub(super) stretch: f64,
}

/// Which of two connections without a request under way can be spared more easily: the lesser.
pub(super) type Spare = (Rank, Instant);

/// What a connection is worth that has no request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// No call of it was ever passed on. The oldest first.
    Unproven,
    /// It waits for its next request.
    Idle,
    /// Its caller does not read an answer that it is owed.
    Answering,
}

/// What hyper has of the next head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Nothing, and has not asked for it.
    Unasked,
    /// Nothing, and waits.
    Nothing,
    Something,
}

struct State {
    phase: Phase,
    since: Instant,
    opened: Instant,
    life: Life,
    /// Requests so far.
    requests: usize,
    /// One of them was passed on to upstream.
    proven: bool,
    scan: Scan,
    /// What hyper has of the next head.
    given: Given,
    /// hyper has the answer, whole.
    taken: bool,
    /// The proxy stops: the next answer is the last one, which is waited for no longer than this.
    farewell: Option<Duration>,
    /// Another connection needs the room.
    cut: bool,
}

impl Watch {
    /// A connection that was just opened.
    pub(super) fn new(life: Life, farewell: Option<Duration>, crowded: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::Handshake,
            since: now,
            opened: now,
            life,
            requests: 0,
            proven: false,
            scan: Scan::default(),
            given: Given::Unasked,
            taken: false,
            farewell,
            cut: false,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), crowded }))
    }

    /// It can bring requests now.
    pub(super) fn begin(&self) {
        self.state().enter(Phase::Idle);
    }

    /// Bytes were read. Returns how many of them belong to the head that hyper is to have next, and whether that is
    /// over: it is whole, broken, or has more than so many bytes.
    pub(super) fn read(&self, bytes: &[u8], header_bytes: usize) -> (usize, bool) {
        let mut state = self.state();
        let head = state.scan.feed(bytes);
        let settled = state.scan.is_settled(header_bytes);
        let partial = state.scan.is_partial();
        if state.phase == Phase::Idle && partial {
            state.enter(Phase::Head);
            self.0.changed.notify_one();
        }
        (head, settled)
    }

    /// hyper asked for a head, and there is none.
    pub(super) fn awaited(&self) {
        let mut state = self.state();
        if state.given == Given::Unasked {
            state.given = Given::Nothing;
        }
    }

    /// hyper was given a head, or a part of one.
    pub(super) fn handed(&self) {
        self.state().given = Given::Something;
    }

    /// Whether hyper has nothing to do but to wait for a head.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Idle | Phase::Head) && state.given == Given::Nothing
    }

    /// hyper has parsed a head. Says what is wrong with its bytes.
    pub(super) fn head_parsed(&self) -> Option<&'static str> {
        let mut state = self.state();
        state.enter(Phase::Working);
        state.requests += 1;
        state.given = Given::Unasked;
        std::mem::take(&mut state.scan).verdict()
    }

    /// The answer, which may be upstream's, is about to be written. Returns whether it is this connection's last.
    pub(super) fn answer_ready(&self, passed_on: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        state.enter(Phase::Answering);
        state.proven = state.proven || passed_on();
        state.taken = false;
        let over = state.requests >= state.life.requests || state.since >= state.life.until;
        over || state.cut || state.farewell.is_some() || self.0.crowded.load(Relaxed)
    }

    /// hyper has all of the answer.
    pub(super) fn answer_taken(&self) {
        self.state().taken = true;
    }

    /// Whatever hyper had to write was written.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering && state.taken {
            state.enter(Phase::Idle);
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.state().phase == Phase::Answering
    }

    /// How the bytes that hyper could not parse as a head are to be refused.
    pub(super) fn broken_head(&self, too_large: bool, limits: &Limits) -> Refusal {
        let scan = &self.state().scan;
        // hyper calls a `Content-Length` too large as well.
        match (too_large && scan.exceeds(limits.header_bytes, limits.headers), scan.first_fault()) {
            (true, _) if scan.is_request_line() => Refusal::TargetTooLong,
            (true, _) => Refusal::HeadersTooLarge,
            (false, fault) => Refusal::BadRequest(fault.unwrap_or("this is not a request of HTTP/1.1")),
        }
    }

    /// Returns the phase that the connection has been in for too long.
    pub(super) async fn too_slow(&self, limits: &Limits) -> Phase {
        loop {
            let (phase, end) = self.state().patience(limits);
            if end <= Instant::now() {
                return phase;
            }
            // Whichever comes first: then it is looked at again.
            drop(timeout_at(end, self.0.changed.notified()).await);
        }
    }

    /// The proxy stops: the next answer is the last one, and is not waited for longer than this.
    pub(super) fn say_farewell(&self, wait: Duration) {
        self.state().farewell = Some(wait);
        self.0.changed.notify_one();
    }

    /// What it is worth, where no request is under way; and when none is likely to be on its way any more.
    pub(super) fn spare(&self) -> Option<(Spare, Instant)> {
        self.state().spare()
    }

    /// Closes it, unless a request has begun meanwhile: that is still answered.
    pub(super) fn cut(&self) {
        self.state().cut = true;
        self.0.changed.notify_one();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// Returns once it is to be closed because another connection needs the room.
    pub(super) async fn until_cut(&self) {
        while !self.is_cut() {
            self.0.changed.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }

    /// The phase, and when it has lasted too long.
    fn patience(&self, limits: &Limits) -> (Phase, Instant) {
        let wait = match (self.phase, self.farewell) {
            // The request has a deadline of its own. Whatever begins after it cannot be over before this.
            (Phase::Working, _) => return (self.phase, Instant::now() + limits.idle_timeout),
            _ if self.cut => Duration::ZERO,
            (Phase::Handshake | Phase::Head, _) => limits.header_timeout,
            (Phase::Idle, Some(farewell)) => farewell.min(limits.idle_timeout),
            (Phase::Idle | Phase::Answering, _) => limits.idle_timeout,
        };
        (self.phase, self.since + wait.mul_f64(self.life.stretch))
    }

    fn spare(&self) -> Option<(Spare, Instant)> {
        let (spare, grace) = match (self.phase, self.proven) {
            (Phase::Working, _) => return None,
            (Phase::Answering, false) => ((Rank::Unproven, self.opened), PATIENCE),
            (Phase::Answering, true) => ((Rank::Answering, self.since), PATIENCE),
            (Phase::Handshake | Phase::Idle | Phase::Head, false) => ((Rank::Unproven, self.opened), GRACE),
            (Phase::Handshake | Phase::Idle | Phase::Head, true) => ((Rank::Idle, self.since), PATIENCE),
        };
        // Its first request may be long in coming.
        let since = if self.requests == 0 { self.opened } else { self.since };
        (!self.cut).then_some((spare, since + grace))
    }
}

/// For the first request of a caller to come.
pub(super) const GRACE: Duration = Duration::from_millis(50);
/// For the next one; and for an answer to be read.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(requests: usize, lifetime: Duration) -> Watch {
        Watch::new(Life { until: Instant::now() + lifetime, requests, stretch: 1.0 }, None, Arc::default())
    }

    fn answered(watch: &Watch) -> bool {
        assert_eq!(watch.read(HEAD, MOST), (HEAD.len(), true));
        assert_eq!(watch.head_parsed(), None);
        let last = watch.answer_ready(|| true);
        watch.answer_taken();
        watch.flushed();
        last
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_goes_through_its_phases() {
        let watch = watch(10, HOUR);
        let phase = |expected| assert_eq!(watch.state().phase, expected);
        phase(Phase::Handshake);
        watch.begin();
        phase(Phase::Idle);
        watch.read(b"\r\n", MOST);
        phase(Phase::Idle);
        watch.read(b"DELETE / HTTP/1.1\r\n", MOST);
        phase(Phase::Head);
        assert_eq!(watch.read(b"\r\nDELETE", MOST), (2, true));
        assert_eq!(watch.head_parsed(), None);
        phase(Phase::Working);
        watch.flushed();
        phase(Phase::Working);
        assert!(!watch.answer_ready(|| true));
        // hyper may flush between the head of an answer and its body.
        watch.flushed();
        phase(Phase::Answering);
        watch.answer_taken();
        watch.flushed();
        phase(Phase::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_is_told_by_its_number_its_time_and_whoever_wants_it_to_be() {
        let counted = watch(2, HOUR);
        assert_eq!([answered(&counted), answered(&counted)], [false, true]);
        let aged = watch(10, HOUR);
        assert!(!answered(&aged));
        tokio::time::advance(HOUR).await;
        assert!(answered(&aged));
        for end in [Watch::cut, |watch: &Watch| watch.say_farewell(HOUR)] {
            let ended = watch(10, HOUR);
            assert!(!answered(&ended));
            end(&ended);
            assert!(answered(&ended));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_brought_a_call_that_was_passed_on_is_spared_first_and_what_works_never() {
        let rank = |watch: &Watch| {
            let ((rank, _), from) = watch.spare()?;
            (from <= Instant::now()).then_some(rank)
        };
        let silent = watch(10, HOUR);
        let refused = watch(10, HOUR);
        refused.read(HEAD, MOST);
        refused.head_parsed();
        refused.answer_ready(|| false);
        refused.answer_taken();
        refused.flushed();
        assert_eq!([&silent, &refused].map(rank), [None, None]);
        tokio::time::advance(GRACE).await;
        assert_eq!([&silent, &refused].map(rank), [Some(Rank::Unproven); 2]);
        let idle = watch(10, HOUR);
        answered(&idle);
        let working = watch(10, HOUR);
        working.read(HEAD, MOST);
        working.head_parsed();
        let slow = watch(10, HOUR);
        slow.read(HEAD, MOST);
        slow.head_parsed();
        slow.answer_ready(|| true);
        tokio::time::advance(GRACE).await;
        assert_eq!([&idle, &slow, &working].map(rank), [None; 3]);
        tokio::time::advance(PATIENCE).await;
        assert_eq!([&idle, &slow, &working].map(rank), [Some(Rank::Idle), Some(Rank::Answering), None]);
        silent.cut();
        assert_eq!(rank(&silent), None, "once is enough");
    }

    const HEAD: &[u8] = b"DELETE / HTTP/1.1\r\n\r\n";
    const HOUR: Duration = Duration::from_secs(3600);
    const MOST: usize = 16 * 1024;
}
