//! The limits of one caller and their state.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use foldhash::HashMap;
use governor::{DefaultDirectRateLimiter, clock::Clock, clock::DefaultClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Exceeded, Rate, Scope};

/// The limits of one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerLimits {
    /// The rate of all calls.
    pub rate: Option<Rate>,
    /// Additional rates of single IAM actions.
    pub per_action: Arc<[(&'static str, Rate)]>,
    /// The maximum number of calls in flight.
    pub in_flight: Option<NonZeroU32>,
}

/// Returns the maximum number of calls in flight of a caller without `in_flight`: half of the process's, so that it leaves
/// room for others. `None` if there are no others.
pub fn fair_share(in_flight: usize, callers: usize) -> Option<NonZeroU32> {
    let half = u32::try_from(in_flight / 2).unwrap_or(u32::MAX);
    NonZeroU32::new(half.max(1)).filter(|_| callers > 1)
}

pub(super) struct CallerState {
    pub(super) limits: CallerLimits,
    bucket: Option<DefaultDirectRateLimiter>,
    /// The rates by action.
    per_action: HashMap<&'static str, Arc<RateBucket>>,
    in_flight: Option<Arc<Semaphore>>,
}

struct RateBucket {
    rate: Rate,
    left: DefaultDirectRateLimiter,
}

impl CallerState {
    /// Creates the state. Unchanged rates keep theirs, because a day is long.
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
            take(bucket)?;
        }
        if let Some(bucket) = self.per_action.get(action) {
            take(&bucket.left)?;
        }
        Ok(permit)
    }
}

impl RateBucket {
    /// Returns the previous bucket if the rate is the same, else a full one.
    fn new(rate: Rate, before: Option<&Arc<Self>>) -> Arc<Self> {
        let kept = before.filter(|bucket| bucket.rate == rate);
        kept.map_or_else(|| Arc::new(Self { rate, left: rate.bucket() }), Arc::clone)
    }
}

fn take(bucket: &DefaultDirectRateLimiter) -> Result<(), Exceeded> {
    bucket.check().map_err(|not_until| {
        let retry_after = not_until.wait_time_from(DefaultClock::default().now());
        Exceeded { scope: Scope::Caller, retry_after }
    })
}

/// A guess of how long a call in flight takes, for `Retry-After`.
pub(super) const EXPECTED_CALL_TIME: Duration = Duration::from_secs(1);
