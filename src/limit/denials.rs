//! Limits how often a caller may be denied after a lookup, to stop callers that try job ids.
//!
//! Each lookup costs the project a call and reveals one bit about a job. Ten in a minute are a mistake; more are a search.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use foldhash::HashMap;
use parking_lot::Mutex;

use super::{Exceeded, Scope};
use crate::identity::CallerId;

/// The times of each caller's latest denials.
#[derive(Default)]
pub(super) struct Denials(Mutex<HashMap<CallerId, VecDeque<Instant>>>);

impl Denials {
    /// Checks whether this caller may have another lookup.
    pub(super) fn check(&self, caller: &CallerId) -> Result<(), Exceeded> {
        let mut all = self.0.lock();
        let Some(denials) = all.get_mut(caller) else { return Ok(()) };
        let now = Instant::now();
        while denials.front().is_some_and(|oldest| now.duration_since(*oldest) >= DENIALS_WINDOW) {
            denials.pop_front();
        }
        match denials.front().filter(|_| denials.len() >= MAX_DENIALS) {
            Some(oldest) => {
                let retry_after = DENIALS_WINDOW.saturating_sub(now.duration_since(*oldest));
                Err(Exceeded { scope: Scope::DeniedLookups, retry_after })
            }
            None => Ok(()),
        }
    }

    pub(super) fn note(&self, caller: &CallerId) {
        let mut all = self.0.lock();
        let denials = all.entry(caller.clone()).or_default();
        // Calls in flight at the tenth denial are noted, too, so only the latest ones are kept.
        if denials.len() >= MAX_DENIALS {
            denials.pop_front();
        }
        denials.push_back(Instant::now());
    }
}

const MAX_DENIALS: usize = 10;
const DENIALS_WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_in_a_minute_is_too_many_for_its_caller_alone() {
        let denials = Denials::default();
        let [a, b] = ["a", "b"].map(|name| CallerId::parse(name).unwrap());
        for _ in 0..10 {
            denials.check(&a).unwrap();
            denials.note(&a);
        }
        let exceeded = denials.check(&a).unwrap_err();
        assert!(exceeded.retry_after > Duration::from_secs(50) && exceeded.retry_after <= DENIALS_WINDOW);
        denials.check(&b).unwrap();
    }
}
