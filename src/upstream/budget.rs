//! The retry budget: retries are a share of the calls, so that they do not flood a failing upstream.
//!
//! tower's budget adds its reserve on top of the share, and rounds shares: 60 % becomes all.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts calls and retries, with decay.
#[derive(Default)]
pub struct Budget {
    percent: u32,
    calls: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// Allows this many retries per 100 calls, or three if there are few calls.
    pub fn new(percent: u32) -> Self {
        Self { percent, ..Self::default() }
    }

    /// Counts a call.
    pub fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// Takes a retry, if the budget allows one.
    pub fn retry(&self) -> bool {
        let share = u64::from(self.calls.load(Relaxed)) * u64::from(self.percent) / 100;
        let allowed = share.max(MIN_RETRIES);
        let taken = self.retries.fetch_update(Relaxed, Relaxed, |retries| {
            (u64::from(retries) < allowed).then_some(retries.saturating_add(1))
        });
        taken.is_ok()
    }

    /// Halves all counts. To be called every few seconds.
    pub fn age(&self) {
        for count in [&self.calls, &self.retries] {
            // Counts added meanwhile are kept.
            count.fetch_sub(count.load(Relaxed).div_ceil(2), Relaxed);
        }
    }
}

/// The retries that are always allowed, so that a first call to a restarting upstream gets its attempts.
const MIN_RETRIES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(budget: &Budget) -> usize {
        std::iter::repeat_with(|| budget.retry()).take_while(|taken| *taken).count()
    }

    #[test]
    fn retries_are_a_share_of_the_calls_or_a_few() {
        for (percent, calls, allowed) in
            [(20, 0, 3), (20, 15, 3), (20, 20, 4), (20, 1000, 200), (60, 10, 6), (100, 7, 7), (0, 1000, 3)]
        {
            let budget = Budget::new(percent);
            (0..calls).for_each(|_| budget.call());
            assert_eq!(retries(&budget), allowed, "{percent} % of {calls}");
            assert!(!budget.retry());
        }
    }

    #[test]
    fn an_upstream_that_always_fails_sees_the_share_and_no_more() {
        let (budget, mut taken) = (Budget::new(20), 0);
        for call in 1..=10_000 {
            budget.call();
            taken += usize::from(budget.retry()) + usize::from(budget.retry());
            if call % 100 == 0 {
                budget.age();
            }
        }
        assert!((1900..=2050).contains(&taken), "{taken}");
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let budget = Budget::new(20);
        (0..1000).for_each(|_| budget.call());
        assert_eq!(retries(&budget), 200);
        (0..20).for_each(|_| budget.age());
        assert_eq!(retries(&budget), 3);
    }
}
