//! The ledger of one access key's signatures: how many are unanswered, when others were accepted, and how many were refused
//! in a row. A value without locks; time is an argument.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::Verdict;
use crate::clock;

/// A time by both the monotonic clock and the wall clock that dates signatures.
#[derive(Clone, Copy)]
pub(super) struct DualInstant {
    pub(super) at: Instant,
    pub(super) date: DateTime<Utc>,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The ledger's generation, so that entries of a former key do not count.
    generation: u64,
    /// Its number within the ledger.
    number: u64,
    since: DualInstant,
}

#[derive(Default)]
pub(super) struct Ledger {
    generation: u64,
    unanswered: u32,
    /// The number of signatures so far.
    admitted: u64,
    /// The times of the latest accepted signatures.
    accepted: VecDeque<Instant>,
    /// How long the latest such answer took.
    elapsed: Duration,
    /// The last reading of both clocks.
    clocks: Option<DualInstant>,
    /// Refusals in a row.
    refused: u32,
    /// The number of signatures at the last refusal. Earlier ones may have been checked before or after it.
    refused_at: u64,
    /// When the lock ends, if upstream has locked the key.
    quiet_until: Option<Instant>,
}

impl DualInstant {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), date: clock::now() }
    }
}

impl Ledger {
    /// Returns what to remember when the key goes out of use: its refusals and until when they count. Unanswered signatures
    /// may be refused, too.
    pub(super) fn carried_over(&self) -> Self {
        Self { refused: self.refused + self.unanswered, quiet_until: self.quiet_until, ..Self::default() }
    }

    /// Makes this ledger the successor of another, whose calls in flight do not count here.
    pub(super) fn after(self, former: &Self) -> Self {
        Self { generation: former.generation + 1, ..self }
    }

    /// Whether upstream has refused the key and may still count that.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        self.refused > 0 && self.quiet_until.is_some_and(|until| until > now)
    }

    pub(super) fn has(&self, entry: Entry) -> bool {
        self.generation == entry.generation
    }

    /// Enters a signature, if one more is allowed.
    pub(super) fn admit(&mut self, now: DualInstant) -> Option<Entry> {
        self.end_lock(now.at);
        self.compare_clocks(now);
        if !self.has_room(now.at) {
            return None;
        }
        self.unanswered += 1;
        self.admitted += 1;
        Some(Entry { generation: self.generation, number: self.admitted, since: now })
    }

    /// Returns until when the key is suspended, if it is.
    pub(super) fn held_back(&self, now: Instant) -> Option<Instant> {
        self.quiet_until.filter(|until| self.refused >= MAX_REFUSALS && *until > now)
    }

    /// Concludes an entry. If its verdict suspends the key, returns for how long.
    pub(super) fn conclude(
        &mut self,
        entry: Entry,
        verdict: Option<Verdict>,
        now: DualInstant,
    ) -> Option<Duration> {
        self.unanswered = self.unanswered.saturating_sub(1);
        match verdict {
            Some(Verdict::Accepted) => self.record_accepted(entry, now.at),
            Some(Verdict::Refused) => return self.refuse(now.at),
            Some(Verdict::Misdated | Verdict::Ended | Verdict::Nothing) | None => {}
        }
        None
    }

    fn record_accepted(&mut self, entry: Entry, now: Instant) {
        if entry.number > self.refused_at {
            (self.refused, self.quiet_until) = (0, None);
        }
        self.elapsed = now.saturating_duration_since(entry.since.at);
        // A refusal of a date from before the clock was set does not count.
        if self.clocks.is_none_or(|clocks| !clocks.has_jumped_from(entry.since)) {
            if self.accepted.len() == MAX_ENTRIES {
                self.accepted.pop_front();
            }
            self.accepted.push_back(now);
        }
    }

    fn refuse(&mut self, now: Instant) -> Option<Duration> {
        self.refused = self.refused.saturating_add(1);
        self.refused_at = self.admitted;
        self.accepted.clear();
        self.quiet_until = Some(now + LOCK_DURATION);
        (self.refused == MAX_REFUSALS).then_some(LOCK_DURATION)
    }

    /// Ends the lock when its time is over: one signature may then try the key.
    fn end_lock(&mut self, now: Instant) {
        if self.quiet_until.is_some_and(|until| until <= now) {
            self.quiet_until = None;
            self.refused = if self.refused >= MAX_REFUSALS { MAX_REFUSALS - 1 } else { 0 };
        }
    }

    fn compare_clocks(&mut self, now: DualInstant) {
        if self.clocks.is_some_and(|clocks| clocks.has_jumped_from(now)) {
            self.accepted.clear();
            self.clocks = None;
        }
        self.clocks.get_or_insert(now);
    }

    fn has_room(&self, now: Instant) -> bool {
        if self.refused > 0 {
            return self.refused + self.unanswered < MAX_REFUSALS;
        }
        self.unanswered < MAX_REFUSALS || u64::from(self.unanswered) < self.accepted_lately(now)
    }

    fn accepted_lately(&self, now: Instant) -> u64 {
        let window = MIN_WINDOW.max(self.elapsed * 2);
        let before = self.accepted.partition_point(|at| now.saturating_duration_since(*at) > window);
        u64::try_from(self.accepted.len() - before).unwrap_or(u64::MAX)
    }
}

impl DualInstant {
    /// Whether one of the clocks was set or stopped in between.
    fn has_jumped_from(self, other: Self) -> bool {
        let (earlier, later) = if self.at <= other.at { (self, other) } else { (other, self) };
        let passed = i64::try_from((later.at - earlier.at).as_millis()).unwrap_or(i64::MAX);
        let dated = later.date.timestamp_millis() - earlier.date.timestamp_millis();
        dated.abs_diff(passed) > CLOCK_JUMP_MILLIS
    }
}

/// The refusals after which the key is suspended: two below the five that lock it, because others may share it.
const MAX_REFUSALS: u32 = 3;
/// How long the gateway locks a key.
const LOCK_DURATION: Duration = Duration::from_secs(5 * 60);
const MIN_WINDOW: Duration = Duration::from_secs(1);
/// Four times the default maximum of calls in flight.
const MAX_ENTRIES: usize = 4096;
/// More than any gradual correction of the clock, in milliseconds.
const CLOCK_JUMP_MILLIS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use Verdict::{Accepted, Ended, Misdated, Nothing, Refused};

    struct Clock(DualInstant);

    impl Clock {
        fn new() -> Self {
            Self(DualInstant::now())
        }

        fn pass(&mut self, ms: u64) -> DualInstant {
            self.0.at += Duration::from_millis(ms);
            self.0.date += Duration::from_millis(ms);
            self.0
        }

        fn set(&mut self, seconds: i64) -> DualInstant {
            self.0.date += TimeDelta::seconds(seconds);
            self.0
        }
    }

    /// Enters as many signatures as allowed.
    fn all(ledger: &mut Ledger, now: DualInstant) -> Vec<Entry> {
        std::iter::from_fn(|| ledger.admit(now)).take(10_000).collect()
    }

    /// Enters `count` signatures in turn, each accepted after `elapsed`.
    fn warm(ledger: &mut Ledger, clock: &mut Clock, count: u32, elapsed: u64) {
        for _ in 0..count {
            let entry = ledger.admit(clock.0).unwrap();
            ledger.conclude(entry, Some(Accepted), clock.pass(elapsed));
        }
    }

    #[test]
    fn as_many_are_unanswered_as_were_believed_lately_or_three() {
        for (count, elapsed, later, room) in [
            (0, 0, 0, 3),
            (2, 10, 0, 3),
            (50, 10, 0, 50),
            (50, 10, 600, 40),
            (50, 10, 1001, 3),
            (4, 1000, 0, 3),
            (4, 2000, 3000, 3),
            // The window is twice as long as such an answer takes.
            (40, 600, 0, 3),
        ] {
            let (mut ledger, mut clock) = (Ledger::default(), Clock::new());
            warm(&mut ledger, &mut clock, count, elapsed);
            let now = clock.pass(later);
            let found = all(&mut ledger, now).len();
            assert!(found.abs_diff(room) <= 1, "{count} of {elapsed} ms, {later} ms later: {found}");
        }
        let (mut ledger, mut clock) = (Ledger::default(), Clock::new());
        let start = clock.0;
        // Thirty at once that take five seconds count as ten.
        for round in [3, 3, 6, 12] {
            let numbers = all(&mut ledger, clock.0);
            assert_eq!(numbers.len(), round);
            let now = clock.pass(5000);
            for number in numbers {
                ledger.conclude(number, Some(Accepted), now);
            }
        }
        assert_eq!((clock.0.at - start.at).as_secs(), 20);
    }

    #[test]
    fn after_a_refusal_there_is_what_is_left_of_three() {
        let (mut ledger, mut clock) = (Ledger::default(), Clock::new());
        warm(&mut ledger, &mut clock, 100, 1);
        let under_way = ledger.admit(clock.0).unwrap();
        let first = ledger.admit(clock.0).unwrap();
        assert_eq!(ledger.conclude(first, Some(Refused), clock.0), None);
        let last = all(&mut ledger, clock.0);
        assert_eq!(last.len(), 1, "one is under way, and one was refused");
        assert_eq!(ledger.conclude(under_way, Some(Refused), clock.0), None);
        assert_eq!(all(&mut ledger, clock.0).len(), 0);
        assert_eq!(ledger.held_back(clock.0.at), None, "the third has not answered yet");
        assert_eq!(ledger.conclude(last[0], Some(Refused), clock.0), Some(LOCK_DURATION));
        assert_eq!(ledger.held_back(clock.0.at), Some(clock.0.at + LOCK_DURATION));
        let now = clock.pass(300_000);
        assert_eq!(ledger.held_back(now.at), None);
        let one = all(&mut ledger, now);
        assert_eq!(one.len(), 1, "one try");
        assert_eq!(ledger.conclude(one[0], Some(Refused), now), Some(LOCK_DURATION), "said again");
        let now = clock.pass(300_000);
        let one = all(&mut ledger, now);
        ledger.conclude(one[0], Some(Accepted), now);
        assert_eq!(all(&mut ledger, now).len(), 3);
    }

    #[test]
    fn only_a_signature_made_after_the_refusals_takes_them_back() {
        let (mut ledger, clock) = (Ledger::default(), Clock::new());
        let numbers = all(&mut ledger, clock.0);
        ledger.conclude(numbers[0], Some(Refused), clock.0);
        // Upstream may have checked it before the other.
        ledger.conclude(numbers[1], Some(Accepted), clock.0);
        ledger.conclude(numbers[2], Some(Refused), clock.0);
        for verdict in [Some(Nothing), Some(Misdated), Some(Ended), None, Some(Nothing)] {
            let one = all(&mut ledger, clock.0);
            assert_eq!(one.len(), 1, "{verdict:?}");
            ledger.conclude(one[0], verdict, clock.0);
        }
        let one = all(&mut ledger, clock.0);
        ledger.conclude(one[0], Some(Accepted), clock.0);
        assert_eq!(all(&mut ledger, clock.0).len(), 3);
    }

    #[test]
    fn refusals_are_forgotten_when_a_lock_would_be_over() {
        let (mut ledger, mut clock) = (Ledger::default(), Clock::new());
        let one = ledger.admit(clock.0).unwrap();
        ledger.conclude(one, Some(Refused), clock.0);
        let (before, after) = (clock.pass(299_999), clock.pass(1));
        assert!(ledger.held_back(before.at).is_none());
        assert_eq!(all(&mut ledger, after).len(), 3);
    }

    #[test]
    fn a_clock_that_was_set_makes_every_date_a_guess() {
        for (seconds, room) in [(59, 50), (-59, 50), (61, 3), (-61, 3), (-3600, 3)] {
            let (mut ledger, mut clock) = (Ledger::default(), Clock::new());
            warm(&mut ledger, &mut clock, 50, 1);
            let late = ledger.admit(clock.0).unwrap();
            let now = clock.set(seconds);
            let found = all(&mut ledger, now);
            assert_eq!(found.len() + 1, room, "{seconds}");
            if room > 3 {
                continue;
            }
            ledger.conclude(late, Some(Accepted), now);
            assert_eq!(all(&mut ledger, now).len(), 1, "{seconds}: it was dated before");
            for number in found {
                ledger.conclude(number, Some(Accepted), now);
            }
            assert_eq!(all(&mut ledger, now).len(), 2, "{seconds}: one is under way");
        }
    }
}
