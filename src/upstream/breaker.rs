//! Circuit breaker of one endpoint: opens after failures in a row, and then lets one probe through at a time.
//!
//! Time is an argument, and nothing here waits. The probe is a real call, because only that tells whether calls
//! succeed. The first one may go a second after the circuit opened, so that an outage is noticed to be over soon,
//! and one a second after that. A probe that gets no answer at all costs its caller a call whose outcome is unknown:
//! after each of those the pause doubles, up to what the configuration allows.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::{Answer, SendError};

/// Opens after failures in a row, and closes after a success.
pub struct Breaker {
    threshold: NonZeroU32,
    longest: Duration,
    state: Mutex<State>,
    /// Whether the state is [`State::WELL`]: all that a call looks at while upstream is well. Written by
    /// [`Changing`] alone, under the lock, so it cannot disagree with the state.
    well: AtomicBool,
}

/// The whole state: open and "no failures" cannot be said together.
#[derive(PartialEq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        pause: Duration,
        next_probe: Instant,
        probing: bool,
    },
}

/// The locked state. What was made of it is published when this is dropped.
struct Changing<'b> {
    state: MutexGuard<'b, State>,
    well: &'b AtomicBool,
}

/// A call that may be made. It is to be told how it went; dropped untold, it says nothing about upstream.
pub struct Pass<'b> {
    breaker: &'b Breaker,
    probe: bool,
}

/// What an attempt says about upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// Nothing: a connection had been closed while it was idle.
    Nothing,
    /// It fails, and says so, or cannot be reached.
    Fails,
    /// It fails, and nobody knows what became of the call.
    Vanishes,
}

/// What a verdict changed. It is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Calls are refused from now on.
    Opened,
    /// Calls are made again.
    Closed,
}

impl Breaker {
    /// Opens after so many failures in a row, and never keeps all calls away for longer than `longest`.
    pub fn new(threshold: NonZeroU32, longest: Duration) -> Self {
        Self { threshold, longest, state: Mutex::new(State::WELL), well: AtomicBool::new(true) }
    }

    /// Never opens.
    pub fn never() -> Self {
        Self::new(NonZeroU32::MAX, Duration::MAX)
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        !self.is_well() && matches!(*self.change().state, State::Open { .. })
    }

    /// May a call be made now?
    ///
    /// # Errors
    /// How long it is until one may, if nobody comes before it.
    pub fn pass(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let closed = Pass { breaker: self, probe: false };
        if self.is_well() {
            return Ok(closed);
        }
        let mut change = self.change();
        let State::Open { pause, next_probe, probing } = &mut *change.state else { return Ok(closed) };
        let left = next_probe.saturating_duration_since(now);
        if *probing || !left.is_zero() {
            return Err(left.max(if *probing { *pause } else { Duration::ZERO }));
        }
        *probing = true;
        // Holds also where the probe is dropped untold.
        *next_probe = now + self.shortest();
        Ok(Pass { breaker: self, probe: true })
    }

    fn succeeded(&self) -> Option<Change> {
        if self.is_well() {
            return None;
        }
        let before = std::mem::replace(&mut *self.change().state, State::WELL);
        matches!(before, State::Open { .. }).then_some(Change::Closed)
    }

    fn failed(&self, probe: Option<Verdict>, now: Instant) -> Option<Change> {
        let mut change = self.change();
        match (&mut *change.state, probe) {
            (State::Closed { failures }, _) => {
                *failures = failures.saturating_add(1);
                if *failures < self.threshold.get() {
                    return None;
                }
                let pause = self.shortest();
                *change.state = State::Open { pause, next_probe: now + pause, probing: false };
                Some(Change::Opened)
            }
            (State::Open { pause, next_probe, .. }, Some(verdict)) => {
                let doubled = (*pause * 2).min(self.longest);
                *pause = if verdict == Verdict::Vanishes { doubled } else { self.shortest() };
                *next_probe = now + *pause;
                None
            }
            // It was let through before the circuit opened.
            (State::Open { .. }, None) => None,
        }
    }

    fn shortest(&self) -> Duration {
        SHORTEST_PAUSE.min(self.longest)
    }

    fn is_well(&self) -> bool {
        self.well.load(Acquire)
    }

    fn change(&self) -> Changing<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Changing { state, well: &self.well }
    }
}

impl State {
    const WELL: Self = Self::Closed { failures: 0 };
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        // Still under the lock: fields are dropped after this.
        self.well.store(*self.state == State::WELL, Release);
    }
}

impl Pass<'_> {
    /// Whether this call finds out whether upstream works again.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// How the call went, which ended just now.
    pub fn went(self, verdict: Verdict, now: Instant) -> Option<Change> {
        match verdict {
            Verdict::Nothing => None,
            Verdict::Works => self.breaker.succeeded(),
            Verdict::Fails | Verdict::Vanishes => self.breaker.failed(self.probe.then_some(verdict), now),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe
            && let State::Open { probing, .. } = &mut *self.breaker.change().state
        {
            *probing = false;
        }
    }
}

impl Verdict {
    /// What a result says. That a call is wrong, not allowed, or one too many, is said by an upstream that works.
    pub fn of(result: &Result<Answer, SendError>) -> Self {
        match result {
            Ok(answer) if FAILURES.contains(&answer.status) => Self::Fails,
            Ok(_) => Self::Works,
            Err(SendError::Dial(_)) => Self::Fails,
            Err(SendError::Unsent | SendError::Stale) => Self::Nothing,
            Err(SendError::Timeout | SendError::Closed | SendError::Invalid(_)) => Self::Vanishes,
        }
    }
}

/// Other statuses of a failing server, such as 501, are about the call.
const FAILURES: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];
/// Between two probes, unless the configuration allows less.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering::Relaxed},
        thread,
    };

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn breaker(longest: Duration) -> Breaker {
        Breaker::new(NonZeroU32::new(3).unwrap(), longest)
    }

    fn opened(breaker: &Breaker, now: Instant) {
        let changes = [Verdict::Fails; 3].map(|verdict| breaker.pass(now).unwrap().went(verdict, now));
        assert_eq!(changes, [None, None, Some(Change::Opened)]);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_those() {
        let (breaker, now) = (breaker(ms(30_000)), Instant::now());
        for verdict in [Verdict::Fails, Verdict::Vanishes, Verdict::Nothing, Verdict::Works, Verdict::Fails] {
            assert_eq!(breaker.pass(now).unwrap().went(verdict, now), None);
        }
        assert_eq!(breaker.pass(now).unwrap().went(Verdict::Vanishes, now), None);
        assert!(!breaker.is_open());
        assert_eq!(breaker.pass(now).unwrap().went(Verdict::Vanishes, now), Some(Change::Opened));
        assert!(breaker.is_open());
        assert_eq!(breaker.pass(now + ms(400)).err(), Some(ms(600)));
    }

    #[test]
    fn one_probe_at_a_time_and_one_a_second() {
        let (breaker, start) = (breaker(ms(30_000)), Instant::now());
        opened(&breaker, start);
        assert!(breaker.pass(start + ms(999)).is_err());
        let probe = breaker.pass(start + ms(1000)).unwrap();
        assert!(probe.is_probe());
        assert_eq!(breaker.pass(start + ms(5000)).err(), Some(ms(1000)), "one at a time");
        assert_eq!(probe.went(Verdict::Fails, start + ms(5000)), None);
        assert_eq!(breaker.pass(start + ms(5300)).err(), Some(ms(700)));
        let probe = breaker.pass(start + ms(6000)).unwrap();
        drop(probe);
        assert!(breaker.pass(start + ms(6999)).is_err(), "also where the probe was given up");
        assert!(breaker.pass(start + ms(7000)).unwrap().is_probe());
    }

    #[test]
    fn the_pause_doubles_while_probes_vanish_up_to_what_is_allowed() {
        let (breaker, mut now) = (breaker(ms(5000)), Instant::now());
        opened(&breaker, now);
        now += ms(1000);
        for (verdict, pause) in [
            (Verdict::Vanishes, 2000),
            (Verdict::Vanishes, 4000),
            (Verdict::Vanishes, 5000),
            (Verdict::Vanishes, 5000),
            (Verdict::Fails, 1000),
        ] {
            assert_eq!(breaker.pass(now).unwrap().went(verdict, now), None);
            assert_eq!(breaker.pass(now).err(), Some(ms(pause)), "{verdict:?}");
            now += ms(pause);
        }
    }

    #[test]
    fn one_success_closes_it_whosever_it_is() {
        let (breaker, now) = (breaker(ms(200)), Instant::now());
        let early = breaker.pass(now).unwrap();
        opened(&breaker, now);
        assert_eq!(early.went(Verdict::Works, now), Some(Change::Closed));
        opened(&breaker, now);
        let probe = breaker.pass(now + ms(200)).unwrap();
        assert_eq!(probe.went(Verdict::Works, now + ms(200)), Some(Change::Closed));
        assert!(!breaker.pass(now + ms(200)).unwrap().is_probe());
        opened(&breaker, now);
    }

    /// However two endings race: what is open closes with the next success, and what is closed lets calls through.
    #[test]
    fn endings_that_race_leave_no_circuit_open_for_ever() {
        let (now, end) = (Instant::now(), std::time::Instant::now() + ms(1000));
        while std::time::Instant::now() < end {
            let breaker = Breaker::new(NonZeroU32::MIN, ms(30_000));
            let (failing, working) = (breaker.pass(now).unwrap(), breaker.pass(now).unwrap());
            let ready = AtomicU32::new(0);
            let together = || {
                ready.fetch_add(1, Relaxed);
                while ready.load(Relaxed) < 2 {
                    thread::yield_now();
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| {
                    together();
                    failing.went(Verdict::Fails, now)
                });
                together();
                working.went(Verdict::Works, now);
            });
            let open = breaker.is_open();
            let next = breaker.pass(now + ms(1000)).unwrap();
            assert_eq!(next.is_probe(), open);
            assert_eq!(next.went(Verdict::Works, now + ms(1000)), open.then_some(Change::Closed));
            assert!(!breaker.is_open());
        }
    }

    #[test]
    fn failures_that_come_late_change_nothing() {
        let (breaker, now) = (breaker(ms(30_000)), Instant::now());
        let late = breaker.pass(now).unwrap();
        opened(&breaker, now);
        assert_eq!(late.went(Verdict::Vanishes, now + ms(900)), None);
        assert!(breaker.pass(now + ms(1000)).unwrap().is_probe());
    }
}
