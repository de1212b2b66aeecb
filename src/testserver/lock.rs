//! Account and key locks after repeated failures. Huawei's lock of accounts and of access keys.
//!
//! It stands below both and only counts: what a failure is, `iam` and `keys` say.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// How often somebody failed in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// Failures since the last success, or since the lock opened again.
    pub failures: u32,
    /// Whether nobody gets in, not even with the right secret.
    pub locked: bool,
}

/// Counts failures; the fifth in a row locks.
#[derive(Debug, Default)]
pub(super) struct Lock {
    failures: u32,
    until: Option<DateTime<Utc>>,
}

impl Lock {
    /// How it stands.
    pub(super) fn attempts(&self, now: DateTime<Utc>) -> Attempts {
        match self.until {
            Some(until) if until <= now => Attempts { failures: 0, locked: false },
            until => Attempts { failures: self.failures, locked: until.is_some() },
        }
    }

    /// One more failure. Where it is the fifth, it locks for this long.
    pub(super) fn fail(&mut self, now: DateTime<Utc>, period: TimeDelta) {
        let failures = self.attempts(now).failures + 1;
        *self = Self { failures, until: (failures >= LIMIT).then(|| now + period) };
    }

    /// A success: what was counted is forgotten.
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
