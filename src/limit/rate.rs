//! Rates and their token buckets.

use std::{num::NonZeroU32, time::Duration};

use governor::DefaultDirectRateLimiter;

/// A number of calls per period, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of calls.
    pub count: NonZeroU32,
    /// The period. Not zero.
    pub per: Duration,
    /// The calls at once after a quiet time, by default the count.
    pub burst: NonZeroU32,
}

impl Rate {
    pub(super) fn bucket(self) -> DefaultDirectRateLimiter {
        let period = self.per / self.count.get();
        // A clock of nanoseconds cannot limit a shorter period.
        let quota = governor::Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| governor::Quota::per_second(self.count));
        DefaultDirectRateLimiter::direct(quota.allow_burst(self.burst))
    }
}
