//! Huawei's locks of accounts and access keys after repeated failures. `iam` and `keys` decide what counts as a failure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// Failures since the last success, or since the lock ended.
    pub failures: u32,
    /// Whether it is locked, even for the right secret.
    pub locked: bool,
}

/// Counts failures. The fifth in a row locks.
#[derive(Debug, Default)]
pub(super) struct Lock {
    failures: u32,
    until: Option<DateTime<Utc>>,
}

impl Lock {
    /// Returns the current count.
    pub(super) fn attempts(&self, now: DateTime<Utc>) -> Attempts {
        match self.until {
            Some(until) if until <= now => Attempts { failures: 0, locked: false },
            until => Attempts { failures: self.failures, locked: until.is_some() },
        }
    }

    /// Counts a failure. The fifth locks for `period`.
    pub(super) fn fail(&mut self, now: DateTime<Utc>, period: TimeDelta) {
        let failures = self.attempts(now).failures + 1;
        *self = Self { failures, until: (failures >= LIMIT).then(|| now + period) };
    }

    /// Notes a success, which resets the count.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }
}

const LIMIT: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_lock_for_a_while() {
        let (mut lock, period) = (Lock::default(), TimeDelta::minutes(5));
        let start: DateTime<Utc> = "2026-01-15T08:30:00Z".parse().unwrap();
        let at = |minutes| start + TimeDelta::minutes(minutes);
        for failures in 1..=4 {
            lock.fail(start, period);
            assert_eq!(lock.attempts(start), Attempts { failures, locked: false });
        }
        lock.succeed();
        assert_eq!(lock.attempts(start), Attempts { failures: 0, locked: false });
        (0..5).for_each(|_| lock.fail(start, period));
        assert_eq!(lock.attempts(at(4)), Attempts { failures: 5, locked: true });
        assert_eq!(lock.attempts(at(5)), Attempts { failures: 0, locked: false });
        lock.fail(at(5), period);
        assert_eq!(lock.attempts(at(5)), Attempts { failures: 1, locked: false }, "it counts anew");
    }
}
