//! The wall clock of this machine, and the skew of endpoints' clocks.
//!
//! Everything else takes time as an argument. It does not sleep and sets no timers.
use parking_lot::Mutex;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// Returns the current time in UTC by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Formats a duration in a suitable unit.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A value that is computed once per second.
pub struct PerSecond<T>(Option<(i64, T)>);

impl<T> Default for PerSecond<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> PerSecond<T> {
    /// Returns the value for this second, computing it if needed.
    pub fn of(&mut self, moment: DateTime<Utc>, make: impl FnOnce(DateTime<Utc>) -> T) -> &T {
        let second = moment.timestamp();
        let last = self.0.take().filter(|(made, _)| *made == second);
        &self.0.insert(last.unwrap_or_else(|| (second, make(moment)))).1
    }
}

/// The skew of all endpoints' clocks: MPC's, and those that issue credentials. Clones share it.
#[derive(Clone, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<Arc<str>, Skew>>>);

/// How far an endpoint's clock is ahead of this machine's; 0 until an answer shows otherwise. Clones share it.
///
/// The gateway rejects signatures that are 15 minutes off, so a machine with a wrong clock signs by the endpoint's.
#[derive(Clone)]
pub struct Skew(Arc<Measured>);

struct Measured {
    endpoint: Arc<str>,
    milliseconds: AtomicI64,
}

impl Clocks {
    /// Returns the skew of this endpoint, always the same shared one.
    pub fn of(&self, endpoint: &str) -> Skew {
        let mut known = self.0.lock();
        if let Some(skew) = known.get(endpoint) {
            return skew.clone();
        }
        let name: Arc<str> = endpoint.into();
        let skew = Skew::new(Arc::clone(&name));
        known.insert(name, skew.clone());
        skew
    }

    /// Returns all known skews, in the order of endpoint names.
    pub fn all(&self) -> Vec<Skew> {
        self.0.lock().values().cloned().collect()
    }
}

impl Skew {
    /// Creates the skew of an endpoint, with nothing measured yet.
    pub fn new(endpoint: Arc<str>) -> Self {
        Self(Arc::new(Measured { endpoint, milliseconds: AtomicI64::new(0) }))
    }

    /// Returns the endpoint.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Returns the time for signatures: by the endpoint's clock, but no further from this machine's than necessary.
    pub fn now(&self) -> DateTime<Utc> {
        now() + corrected(self.measured())
    }

    /// Returns the last measured skew.
    pub fn measured(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.0.milliseconds.load(Relaxed))
    }

    /// Whether the endpoint should accept the dates of signatures, as far as known.
    pub fn is_corrected(&self) -> bool {
        let measured = self.measured();
        (measured - corrected(measured)).abs() < TOLERATED
    }

    /// Describes the problem if the clocks differ noticeably.
    pub fn problem(&self) -> Option<String> {
        let measured = self.measured();
        if measured.abs() < NOTICEABLE {
            return None;
        }
        let direction = if measured > TimeDelta::zero() { "behind" } else { "ahead" };
        let effect = match self.is_corrected() {
            true => "signatures use the cloud's, but rules and tokens use this machine's",
            false => "that is more than is corrected, and calls are refused",
        };
        let size = span(measured.abs().num_seconds());
        Some(format!("by the last answer, this machine's clock is {size} {direction}: set it; {effect}"))
    }

    /// Learns from the `Date` of an answer that was just received after `elapsed`. A `Date` has no fraction and may have
    /// been written at any time in between, so differences within that uncertainty are ignored.
    pub fn learn(&self, date: DateTime<Utc>, elapsed: Duration) {
        let Ok(elapsed) = TimeDelta::from_std(elapsed) else { return };
        let measured = date + HALF_A_SECOND - (now() - elapsed / 2);
        let explained = PRECISION + elapsed / 2;
        if (measured - self.measured()).abs() <= explained {
            return;
        }
        let measured = if measured.abs() <= explained { TimeDelta::zero() } else { measured };
        self.0.milliseconds.store(measured.num_milliseconds(), Relaxed);
        let endpoint = self.endpoint();
        let (seconds, cloud) =
            (measured.abs().num_seconds(), if measured > TimeDelta::zero() { "ahead" } else { "behind" });
        if measured.is_zero() {
            tracing::info!(endpoint, "this machine's clock matches the cloud's again");
        } else if measured.abs() < TOLERATED {
            tracing::warn!(
                endpoint,
                seconds,
                cloud,
                "this machine's clock differs from the cloud's: signatures use the cloud's"
            );
        } else if self.is_corrected() {
            tracing::error!(
                endpoint,
                seconds,
                cloud,
                "this machine's clock differs from the cloud's: signatures use the cloud's, within the limit; set this \
                 machine's clock"
            );
        } else {
            tracing::error!(
                endpoint,
                seconds,
                cloud,
                "this machine's clock differs from the cloud's by more than a day, which is not corrected: set this \
                 machine's clock"
            );
        }
    }
}

/// Returns the correction of dates for a measured skew. A wrong `Date` must not control the dates of signatures: large skews
/// are corrected just far enough to be accepted, and by a day at most.
fn corrected(measured: TimeDelta) -> TimeDelta {
    let size = measured.abs();
    let moved = if size <= MAX_UNCORRECTED {
        size
    } else if size <= MAX_UNCORRECTED * 2 {
        MAX_UNCORRECTED
    } else if size <= MAX_CORRECTION {
        size - RESIDUAL
    } else {
        TimeDelta::zero()
    };
    if measured < TimeDelta::zero() { -moved } else { moved }
}

/// The tolerance of the gateway for the dates of signatures.
pub const TOLERATED: TimeDelta = TimeDelta::minutes(15);
/// The skew from which on a problem is reported.
const NOTICEABLE: TimeDelta = TimeDelta::minutes(1);
/// A little less than the tolerance, so that dates are still accepted when the clocks agree again.
const MAX_UNCORRECTED: TimeDelta = TimeDelta::seconds(15 * 60 - 30);
/// How far corrected dates stay from the endpoint's clock.
const RESIDUAL: TimeDelta = TimeDelta::minutes(10);
/// The largest correction. A larger skew is neither a time zone nor a suspended machine.
const MAX_CORRECTION: TimeDelta = TimeDelta::days(1);
const HALF_A_SECOND: TimeDelta = TimeDelta::milliseconds(500);
const PRECISION: TimeDelta = TimeDelta::seconds(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn measured_from(offsets: &[i64], elapsed: u64) -> TimeDelta {
        let skew = Clocks::default().of("mpc");
        for seconds in offsets {
            skew.learn(now() + TimeDelta::seconds(*seconds), Duration::from_secs(elapsed));
        }
        skew.measured()
    }

    #[test]
    fn a_skew_is_what_the_precision_of_a_date_does_not_explain() {
        for (offsets, elapsed, expected) in [
            (&[][..], 0, 0),
            (&[1], 0, 0),
            (&[-1], 0, 0),
            (&[600], 0, 600),
            (&[-1200], 0, -1200),
            (&[600, 601, 599], 0, 600),
            (&[600, 0], 0, 0),
            (&[600, 1], 0, 0),
            (&[-6], 10, 0),
        ] {
            let error = measured_from(offsets, elapsed) - TimeDelta::seconds(expected);
            assert!(error.abs() <= HALF_A_SECOND, "{offsets:?} after {elapsed} s: {error}");
        }
    }

    #[test]
    fn dates_are_moved_as_far_as_it_takes_and_by_a_day_at_most() {
        for (seconds, moved, corrected) in [
            (600, 600, true),
            (-600, -600, true),
            (1200, 870, true),
            (-1500, -870, true),
            (1735, 870, true),
            (-1745, -1145, true),
            (3600, 3000, true),
            (-3600, -3000, true),
            (86_000, 85_400, true),
            (90_000, 0, false),
            (-90_000, 0, false),
        ] {
            let skew = Clocks::default().of("mpc");
            skew.learn(now() + TimeDelta::seconds(seconds), Duration::ZERO);
            let difference = skew.now() - now();
            let error = difference - TimeDelta::seconds(moved);
            assert!(error.abs() < TimeDelta::seconds(2), "{seconds}: {difference}");
            assert_eq!(skew.is_corrected(), corrected, "{seconds}");
        }
    }

    #[test]
    fn each_endpoint_has_a_clock_of_its_own() {
        let clocks = Clocks::default();
        clocks.of("one").learn(now() + TimeDelta::hours(1), Duration::ZERO);
        assert!(clocks.of("one").measured() > TimeDelta::minutes(59), "whoever asks");
        assert_eq!(clocks.of("two").measured(), TimeDelta::zero());
        assert_eq!(clocks.all().iter().map(Skew::endpoint).collect::<Vec<_>>(), ["one", "two"]);
    }
}
