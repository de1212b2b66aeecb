//! Requests per minute by outcome, over the last minute, for people without a graph.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The number and rate of requests with one outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeRate {
    /// The outcome as in records and metrics.
    pub outcome: &'static str,
    /// The number since the start.
    pub total: u64,
    /// The rate over the last minute.
    pub per_minute: f64,
}

/// Samples of the last minute.
#[derive(Default)]
pub(super) struct Samples(Mutex<VecDeque<(Instant, Vec<u64>)>>);

impl Samples {
    /// Takes a sample.
    pub(super) fn take(&self, now: Instant, totals: impl Iterator<Item = u64>) {
        let mut samples = self.0.lock();
        samples.push_back((now, totals.collect()));
        // The oldest sample kept is a minute old.
        while samples.get(1).is_some_and(|(taken, _)| now.saturating_duration_since(*taken) >= WINDOW) {
            samples.pop_front();
        }
    }

    /// Returns the rates since the oldest sample.
    pub(super) fn rates(&self, now: Instant, totals: &[(&'static str, u64)]) -> Vec<OutcomeRate> {
        let samples = self.0.lock();
        let oldest = samples.front();
        let passed = oldest.map_or(Duration::ZERO, |(taken, _)| now.saturating_duration_since(*taken));
        let minutes = passed.as_secs_f64().max(1.0) / 60.0;
        let rate = |(number, &(outcome, total)): (usize, &(&'static str, u64))| {
            let before = oldest.and_then(|(_, totals)| totals.get(number)).copied().unwrap_or(total);
            let fresh = u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX);
            OutcomeRate { outcome, total, per_minute: f64::from(fresh) / minutes }
        };
        totals.iter().enumerate().map(rate).collect()
    }
}

/// How often samples are taken.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_within_a_minute_is_told_by_the_minute() {
        let (samples, start) = (Samples::default(), Instant::now());
        assert_eq!(samples.rates(start, &[("forwarded", 7)])[0].per_minute, 0.0, "nothing to compare with");
        let mut count = 0;
        for step in 0..=12 {
            samples.take(start + SAMPLE_INTERVAL * step, [count].into_iter());
            // A hundred per minute, then none.
            count += if step < 6 { 100 } else { 0 };
        }
        let at = |seconds| {
            let now = start + Duration::from_secs(seconds);
            samples.rates(now, &[("forwarded", count)])[0]
        };
        assert_eq!((at(120).total, at(120).per_minute), (600, 0.0));
        samples.take(start + SAMPLE_INTERVAL * 13, [count + 30].into_iter());
        let now = start + SAMPLE_INTERVAL * 13;
        assert_eq!(samples.rates(now, &[("forwarded", count + 30)])[0].per_minute, 30.0);
        assert!(samples.0.lock().len() <= 8);
    }

    #[test]
    fn soon_after_the_start_it_is_no_wild_guess() {
        let (samples, start) = (Samples::default(), Instant::now());
        samples.take(start, [0].into_iter());
        assert_eq!(samples.rates(start, &[("refused", 2)])[0].per_minute, 120.0);
    }
}
