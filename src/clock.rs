//! What time is it? The only reader of the wall clock, and what is known of its error.
//!
//! It stands first because everything else takes time as an argument; a test of a pure function
//! passes the time it needs. It does not sleep and sets no timers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// The current time in UTC, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// How far the cloud's clock is ahead of this machine's: 0 until an answer shows that it is not. Clones share it.
///
/// The gateway refuses signatures that are 15 minutes off, so a machine whose clock is wrong signs by the cloud's.
#[derive(Clone, Default)]
pub struct Skew(Arc<AtomicI64>);

impl Skew {
    /// The time by the cloud's clock. It is never more than 15 minutes from the machine's, whatever was measured.
    pub fn now(&self) -> DateTime<Utc> {
        now() + self.measured().clamp(-MOST_CORRECTED, MOST_CORRECTED)
    }

    /// What was measured last.
    pub fn measured(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.0.load(Relaxed))
    }

    /// Learns from the `Date` of an answer that was just received and took so long. It has no fraction of a second,
    /// and nobody knows when on the way it was written: what can be explained by that changes nothing.
    pub fn learn(&self, date: DateTime<Utc>, took: Duration) {
        let Ok(took) = TimeDelta::from_std(took) else { return };
        let measured = date + HALF_A_SECOND - (now() - took / 2);
        let explained = PRECISION + took / 2;
        if (measured - self.measured()).abs() <= explained {
            return;
        }
        let measured = if measured.abs() <= explained { TimeDelta::zero() } else { measured };
        self.0.store(measured.num_milliseconds(), Relaxed);
        let seconds = measured.num_seconds();
        if measured.is_zero() {
            tracing::info!("this machine's clock agrees with the cloud's again");
        } else if measured.abs() <= MOST_CORRECTED {
            tracing::warn!(seconds, "the cloud's clock is ahead by this much: signatures are dated by it");
        } else {
            tracing::error!(
                seconds,
                "the cloud's clock is ahead by this much, of which 15 minutes are corrected: set this machine's clock"
            );
        }
    }
}

/// As far as the gateway's own tolerance goes. A wrong `Date` must not be able to date signatures at will.
const MOST_CORRECTED: TimeDelta = TimeDelta::minutes(15);
const HALF_A_SECOND: TimeDelta = TimeDelta::milliseconds(500);
const PRECISION: TimeDelta = TimeDelta::seconds(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn measured_from(offsets: &[i64], took: u64) -> TimeDelta {
        let skew = Skew::default();
        for seconds in offsets {
            skew.learn(now() + TimeDelta::seconds(*seconds), Duration::from_secs(took));
        }
        skew.measured()
    }

    #[test]
    fn a_skew_is_what_the_precision_of_a_date_does_not_explain() {
        for (offsets, took, expected) in [
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
            let error = measured_from(offsets, took) - TimeDelta::seconds(expected);
            assert!(error.abs() <= HALF_A_SECOND, "{offsets:?} after {took} s: {error}");
        }
    }

    #[test]
    fn no_more_than_a_quarter_of_an_hour_is_corrected() {
        for (minutes, corrected) in [(10, 10), (-10, -10), (20, 15), (-1000, -15)] {
            let skew = Skew::default();
            skew.learn(now() + TimeDelta::minutes(minutes), Duration::ZERO);
            let difference = skew.now() - now();
            let error = difference - TimeDelta::minutes(corrected);
            assert!(error.abs() < TimeDelta::seconds(2), "{minutes}: {difference}");
        }
    }
}
