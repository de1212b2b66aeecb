//! The limits of one caller, and what is left of them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use foldhash::HashMap;
use governor::{DefaultDirectRateLimiter, clock::Clock, clock::DefaultClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Exceeded, Rate, Scope};

/// What one caller may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerLimits {
    /// Calls in time.
    pub rate: Option<Rate>,
    /// And of some IAM actions by themselves.
    pub per_action: Arc<[(&'static str, Rate)]>,
    /// Calls under way at once.
    pub in_flight: Option<NonZeroU32>,
}

/// The most calls that a caller without an `in_flight` of its own may have under way: half of what the process
/// takes on, so that one caller leaves room for the others. `None` where there are no others.
pub fn fair_share(in_flight: usize, callers: usize) -> Option<NonZeroU32> {
    let half = u32::try_from(in_flight / 2).unwrap_or(u32::MAX);
    NonZeroU32::new(half.max(1)).filter(|_| callers > 1)
}

/// What is left of them.
pub(super) struct CallerState {
    pub(super) limits: CallerLimits,
    bucket: Option<DefaultDirectRateLimiter>,
    /// By action.
    per_action: HashMap<&'static str, Arc<RateBucket>>,
    in_flight: Option<Arc<Semaphore>>,
}

/// A rate, and what is left of it.
struct RateBucket {
    rate: Rate,
    left: DefaultDirectRateLimiter,
}

impl CallerState {
    /// Actions of which the rate is as it was keep what is left of it: a day is long.
    pub(super) fn new(limits: CallerLimits, before: Option<&Self>) -> Self {
        let in_flight = limits.in_flight.and_then(|n| usize::try_from(n.get()).ok());
        let per_action = limits.per_action.iter().map(|(action, rate)| {
            (*action, RateBucket::new(*rate, before.and_then(|before| before.per_action.get(action))))
        });
        Self {
            bucket: limits.rate.map(Rate::bucket),
            per_action: per_action.collect(),
            in_flight: in_flight.map(|n| Arc::new(Semaphore::new(n))),
            limits,
        }
    }

    pub(super) fn admit(&self, action: &str) -> Result<Option<OwnedSemaphorePermit>, Exceeded> {
        let permit = match &self.in_flight {
            Some(in_flight) => {
                let full = Exceeded { scope: Scope::Caller, retry_after: EXPECTED_CALL_TIME };
                Some(Arc::clone(in_flight).try_acquire_owned().map_err(|_| full)?)
            }
            None => None,
        };
        if let Some(bucket) = &self.bucket {
            take(bucket, Scope::Caller)?;
        }
        if let Some(bucket) = self.per_action.get(action) {
            take(&bucket.left, Scope::Caller)?;
        }
        Ok(permit)
    }
}

impl RateBucket {
    /// A full one, unless there was one of the same rate before.
    fn new(rate: Rate, before: Option<&Arc<Self>>) -> Arc<Self> {
        let kept = before.filter(|bucket| bucket.rate == rate);
        kept.map_or_else(|| Arc::new(Self { rate, left: rate.bucket() }), Arc::clone)
    }
}

fn take(bucket: &DefaultDirectRateLimiter, scope: Scope) -> Result<(), Exceeded> {
    bucket.check().map_err(|not_until| {
        let retry_after = not_until.wait_time_from(DefaultClock::default().now());
        Exceeded { scope, retry_after }
    })
}

/// When a call that is under way will be over, nobody knows; this is a fair guess.
pub(super) const EXPECTED_CALL_TIME: Duration = Duration::from_secs(1);
