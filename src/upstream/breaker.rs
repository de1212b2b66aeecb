//! The circuit breaker of one endpoint: opens after failures in a row, then lets through one probe at a time.
//!
//! Time is an argument, and nothing here waits. A probe is a real call, because only that shows whether calls succeed. There
//! is one a second after the circuit opened, so that the end of an outage is noticed soon, and one each second after that. A
//! probe without an answer leaves its caller with an unknown outcome, so after each of those the pause doubles, up to the
//! configured maximum.
//!
//! Each opening and closing starts a new generation. A permit belongs to the generation in which it was granted, and its end
//! does not affect another: neither a call that outlasts the opening nor a race between two ends can change a later circuit.
use parking_lot::Mutex;

use std::{mem::ManuallyDrop, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// Opens after failures in a row, and closes after a successful probe.
pub struct Breaker {
    threshold: NonZeroU32,
    longest: Duration,
    state: Mutex<BreakerState>,
}

struct BreakerState {
    /// How often the circuit has opened and closed.
    generation: u64,
    circuit: Circuit,
}

enum Circuit {
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    Open {
        pause: Duration,
        next_probe: Instant,
        probing: bool,
    },
}

/// A permit for one call. Its end consumes it; dropping it says nothing about upstream.
#[must_use = "the end of a call must be reported"]
pub struct Permit<'b> {
    breaker: &'b Breaker,
    generation: u64,
    probe: bool,
}

/// What the end of an attempt says about upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It works. An upstream that rejects or throttles a call works.
    Works,
    /// Nothing: an idle connection had been closed.
    Nothing,
    /// It reports a failure or cannot be reached.
    Fails,
    /// It fails, and the outcome of the call is unknown.
    Vanishes,
}

/// A change of the circuit. Reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitChange {
    /// Calls are refused from now on.
    Opened,
    /// Calls are made again.
    Closed,
}

impl Breaker {
    /// Creates a breaker that opens after `threshold` failures in a row, with pauses of at most `longest`.
    pub fn new(threshold: NonZeroU32, longest: Duration) -> Self {
        let state = BreakerState { generation: 0, circuit: Circuit::Closed { failures: 0 } };
        Self { threshold, longest, state: Mutex::new(state) }
    }

    /// Creates a breaker that never opens.
    pub fn never() -> Self {
        Self::new(NonZeroU32::MAX, Duration::MAX)
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        matches!(self.state.lock().circuit, Circuit::Open { .. })
    }

    /// Asks for a permit to make a call now.
    ///
    /// # Errors
    /// The time until the next probe.
    pub fn permit(&self, now: Instant) -> Result<Permit<'_>, Duration> {
        let mut state = self.state.lock();
        let probe = match &mut state.circuit {
            Circuit::Closed { .. } => false,
            Circuit::Open { pause, next_probe, probing } => {
                let left = next_probe.saturating_duration_since(now);
                if *probing || !left.is_zero() {
                    return Err(left.max(if *probing { *pause } else { Duration::ZERO }));
                }
                *probing = true;
                // Also applies if the probe is dropped without an end.
                *next_probe = now + self.shortest();
                true
            }
        };
        Ok(Permit { breaker: self, generation: state.generation, probe })
    }

    /// Applies the end of a call. In an open circuit's generation the probe is the only permit.
    fn end(&self, generation: u64, evidence: Evidence, now: Instant) -> Option<CircuitChange> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let circuit = match (&mut state.circuit, evidence) {
            (Circuit::Closed { .. }, Evidence::Nothing) => return None,
            (Circuit::Closed { failures }, Evidence::Works) => {
                *failures = 0;
                return None;
            }
            (Circuit::Closed { failures }, Evidence::Fails | Evidence::Vanishes) => {
                *failures = failures.saturating_add(1);
                if *failures < self.threshold.get() {
                    return None;
                }
                let pause = self.shortest();
                Circuit::Open { pause, next_probe: now + pause, probing: false }
            }
            (Circuit::Open { .. }, Evidence::Works) => Circuit::Closed { failures: 0 },
            (Circuit::Open { pause, next_probe, probing }, evidence) => {
                *probing = false;
                if evidence != Evidence::Nothing {
                    let doubled = (*pause * 2).min(self.longest);
                    *pause = if evidence == Evidence::Vanishes { doubled } else { self.shortest() };
                    *next_probe = now + *pause;
                }
                return None;
            }
        };
        let change = if matches!(circuit, Circuit::Open { .. }) {
            CircuitChange::Opened
        } else {
            CircuitChange::Closed
        };
        *state = BreakerState { generation: generation + 1, circuit };
        Some(change)
    }

    fn shortest(&self) -> Duration {
        MIN_PROBE_INTERVAL.min(self.longest)
    }
}

impl Permit<'_> {
    /// Whether this call is a probe.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Reports the end of the call.
    pub fn end(self, evidence: Evidence, now: Instant) -> Option<CircuitChange> {
        let permit = ManuallyDrop::new(self);
        permit.breaker.end(permit.generation, evidence, now)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.breaker.end(self.generation, Evidence::Nothing, Instant::now());
    }
}

/// The shortest pause between two probes, unless the configured maximum is shorter.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(1);

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
        let changes = [Evidence::Fails; 3].map(|verdict| breaker.permit(now).unwrap().end(verdict, now));
        assert_eq!(changes, [None, None, Some(CircuitChange::Opened)]);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_those() {
        let (breaker, now) = (breaker(ms(30_000)), Instant::now());
        for verdict in
            [Evidence::Fails, Evidence::Vanishes, Evidence::Nothing, Evidence::Works, Evidence::Fails]
        {
            assert_eq!(breaker.permit(now).unwrap().end(verdict, now), None);
        }
        assert_eq!(breaker.permit(now).unwrap().end(Evidence::Vanishes, now), None);
        assert!(!breaker.is_open());
        assert_eq!(breaker.permit(now).unwrap().end(Evidence::Vanishes, now), Some(CircuitChange::Opened));
        assert!(breaker.is_open());
        assert_eq!(breaker.permit(now + ms(400)).err(), Some(ms(600)));
    }

    #[test]
    fn one_probe_at_a_time_and_one_a_second() {
        let (breaker, start) = (breaker(ms(30_000)), Instant::now());
        opened(&breaker, start);
        assert!(breaker.permit(start + ms(999)).is_err());
        let probe = breaker.permit(start + ms(1000)).unwrap();
        assert!(probe.is_probe());
        assert_eq!(breaker.permit(start + ms(5000)).err(), Some(ms(1000)), "one at a time");
        assert_eq!(probe.end(Evidence::Fails, start + ms(5000)), None);
        assert_eq!(breaker.permit(start + ms(5300)).err(), Some(ms(700)));
        let probe = breaker.permit(start + ms(6000)).unwrap();
        drop(probe);
        assert!(breaker.permit(start + ms(6999)).is_err(), "also if the probe was given up");
        assert!(breaker.permit(start + ms(7000)).unwrap().is_probe());
    }

    #[test]
    fn the_pause_doubles_while_probes_vanish_up_to_what_is_allowed() {
        let (breaker, mut now) = (breaker(ms(5000)), Instant::now());
        opened(&breaker, now);
        now += ms(1000);
        for (verdict, pause) in [
            (Evidence::Vanishes, 2000),
            (Evidence::Vanishes, 4000),
            (Evidence::Vanishes, 5000),
            (Evidence::Vanishes, 5000),
            (Evidence::Fails, 1000),
        ] {
            assert_eq!(breaker.permit(now).unwrap().end(verdict, now), None);
            assert_eq!(breaker.permit(now).err(), Some(ms(pause)), "{verdict:?}");
            now += ms(pause);
        }
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_nobody_else_does() {
        let (breaker, now) = (breaker(ms(200)), Instant::now());
        let early = breaker.permit(now).unwrap();
        opened(&breaker, now);
        assert_eq!(early.end(Evidence::Works, now), None, "it was sent before upstream failed");
        assert!(breaker.is_open());
        let probe = breaker.permit(now + ms(200)).unwrap();
        assert_eq!(probe.end(Evidence::Works, now + ms(200)), Some(CircuitChange::Closed));
        assert!(!breaker.permit(now + ms(200)).unwrap().is_probe());
        opened(&breaker, now);
    }

    #[test]
    fn an_end_says_nothing_to_another_generation() {
        let (breaker, now) = (breaker(ms(200)), Instant::now());
        let early = [(); 3].map(|()| breaker.permit(now).unwrap());
        opened(&breaker, now);
        breaker.permit(now + ms(200)).unwrap().end(Evidence::Works, now + ms(200));
        assert_eq!(early.map(|permit| permit.end(Evidence::Vanishes, now + ms(300))), [None; 3]);
        assert!(!breaker.is_open());
        let late = breaker.permit(now + ms(300)).unwrap();
        opened(&breaker, now + ms(300));
        let probe = breaker.permit(now + ms(500)).unwrap();
        drop(late);
        assert!(breaker.permit(now + ms(900)).is_err(), "it was no probe");
        assert_eq!(probe.end(Evidence::Nothing, now + ms(900)), None);
        assert!(breaker.permit(now + ms(900)).unwrap().is_probe());
    }

    /// However two endings race, an open circuit closes with the next success, and a closed one lets calls through.
    #[test]
    fn endings_that_race_leave_no_circuit_open_for_ever() {
        let (now, end) = (Instant::now(), std::time::Instant::now() + ms(1000));
        while std::time::Instant::now() < end {
            let breaker = Breaker::new(NonZeroU32::MIN, ms(30_000));
            let (failing, working) = (breaker.permit(now).unwrap(), breaker.permit(now).unwrap());
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
                    failing.end(Evidence::Fails, now)
                });
                together();
                working.end(Evidence::Works, now);
            });
            assert!(breaker.is_open());
            let probe = breaker.permit(now + ms(1000)).unwrap();
            assert_eq!(probe.end(Evidence::Works, now + ms(1000)), Some(CircuitChange::Closed));
            assert!(!breaker.is_open());
        }
    }
}
