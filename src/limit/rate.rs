//! A rate, and the bucket of tokens that holds to it.

use std::{num::NonZeroU32, time::Duration};

use governor::DefaultDirectRateLimiter;

/// So many calls in so much time, and how many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how much time. Not zero.
    pub per: Duration,
    /// How many may come at once after a quiet time; the count where none was given.
    pub burst: NonZeroU32,
}

impl Rate {
    pub(super) fn bucket(self) -> DefaultDirectRateLimiter {
        let period = self.per / self.count.get();
        // A period that rounds to nothing is no limit that a clock of nanoseconds could hold.
        let quota = governor::Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| governor::Quota::per_second(self.count));
        DefaultDirectRateLimiter::direct(quota.allow_burst(self.burst))
    }
}
