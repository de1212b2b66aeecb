//! Retry budget. Retries are a share of the calls, so that a failing upstream is not also flooded.
//!
//! tower has a budget too, but it adds its reserve on top of the share, and rounds shares: 60 % becomes all.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts calls and the retries among them, the old ones less and less.
#[derive(Default)]
pub struct Budget {
    percent: u32,
    calls: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// Retries are at most so many of 100 calls; while there are few calls, at most three.
    pub fn new(percent: u32) -> Self {
        Self { percent, ..Self::default() }
    }

    /// Counts a call.
    pub fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// Takes one retry, if there is one left.
    pub fn retry(&self) -> bool {
        let share = u64::from(self.calls.load(Relaxed)) * u64::from(self.percent) / 100;
        let allowed = share.max(MIN_RETRIES);
        let taken = self.retries.fetch_update(Relaxed, Relaxed, |retries| {
            (u64::from(retries) < allowed).then_some(retries.saturating_add(1))
        });
        taken.is_ok()
    }

    /// Lets everything so far count half. To be called every few seconds.
    pub fn age(&self) {
        for count in [&self.calls, &self.retries] {
            // What is counted meanwhile is kept.
            count.fetch_sub(count.load(Relaxed).div_ceil(2), Relaxed);
        }
    }
}

/// A quiet caller's first call to an upstream that restarts deserves its attempts too.
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
