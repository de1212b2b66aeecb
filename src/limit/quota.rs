//! The quota of a project, which all callers share: one bucket for everything, one for reads.
//!
//! A call with a lookup takes both tokens at once, so that no lookup is made for a call that could not follow; an unused
//! token is returned. Reads may take four fifths of the rate, so that they never prevent a cancel. A lookup only for a rule
//! under observation leaves half.
//!
//! The algorithm is governor's (GCRA), which cannot return tokens: a token is the time in which one grows, and one number
//! says when the bucket is full again. So returned tokens never exceed a full bucket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
    time::{Duration, Instant},
};

use super::{CallCount, Exceeded, Rate, Scope};

#[derive(Debug)]
pub(super) struct Quota {
    rate: Rate,
    all: TokenBucket,
    /// The bucket of reads.
    to_look: TokenBucket,
}

#[derive(Debug)]
struct TokenBucket {
    start: Instant,
    /// The nanoseconds in which a token grows. Not zero.
    each: u64,
    most: u32,
    /// When it will be full, in nanoseconds from the start.
    full: AtomicU64,
}

impl Quota {
    /// Returns the previous quota if the rate is the same, else a full one.
    pub(super) fn new(rate: Rate, before: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(before) = before.filter(|quota| quota.rate == rate) {
            return Arc::clone(before);
        }
        let most = rate.burst.get();
        let each = rate.per / rate.count.get();
        // Four fifths of the rate and of the burst, at least one.
        let to_look = TokenBucket::new(each * 5 / 4, (u64::from(most) * 4 / 5).max(1));
        Arc::new(Self { rate, all: TokenBucket::new(each, most.into()), to_look })
    }

    /// Takes the tokens of these requests. Returns whether they include a lookup to observe.
    pub(super) fn admit(&self, calls: CallCount) -> Result<bool, Exceeded> {
        match calls {
            CallCount::Write => self.all.take(1).map(|_| false),
            CallCount::View => self.look(1).map(|()| false),
            CallCount::LookupAndView => {
                self.look(1)?;
                self.look(1).map(|()| false).inspect_err(|_| self.all.give_back())
            }
            CallCount::LookupAndWrite => self.look(2).map(|()| false),
            CallCount::TrialAndWrite => {
                let left = self.all.take(1)?;
                Ok(self.has_spare_capacity(left) && self.look(1).is_ok())
            }
            CallCount::Trial => Ok(self.has_spare_capacity(self.all.left()) && self.look(1).is_ok()),
        }
    }

    pub(super) fn give_back(&self) {
        self.all.give_back();
    }

    /// Takes a token for a read, and `tokens` in all.
    fn look(&self, tokens: u32) -> Result<(), Exceeded> {
        self.to_look.take(1)?;
        self.all.take(tokens).map(drop).inspect_err(|_| self.to_look.give_back())
    }

    /// Whether this number is at least half of all.
    fn has_spare_capacity(&self, left: u32) -> bool {
        left >= self.rate.burst.get().div_ceil(2)
    }
}

impl TokenBucket {
    fn new(each: Duration, most: u64) -> Self {
        Self {
            start: Instant::now(),
            each: nanoseconds(each).max(1),
            most: u32::try_from(most).unwrap_or(u32::MAX),
            full: AtomicU64::new(0),
        }
    }

    /// Takes tokens. Returns how many are left.
    fn take(&self, tokens: u32) -> Result<u32, Exceeded> {
        // If the burst is smaller, a full bucket has to do.
        let wanted = self.each.saturating_mul(tokens.min(self.most).into());
        let (now, whole) = (self.now(), self.whole());
        let taken = |full: u64| full.max(now).saturating_add(wanted);
        let grow = |full: u64| Some(taken(full)).filter(|full| full - now <= whole);
        match self.full.fetch_update(AcqRel, Acquire, grow) {
            Ok(full) => Ok(self.grown(taken(full), now)),
            Err(full) => {
                let retry_after = Duration::from_nanos(taken(full) - now - whole);
                Err(Exceeded { scope: Scope::Project, retry_after })
            }
        }
    }

    fn give_back(&self) {
        self.full.fetch_update(AcqRel, Acquire, |full| Some(full.saturating_sub(self.each))).ok();
    }

    fn left(&self) -> u32 {
        self.grown(self.full.load(Acquire), self.now())
    }

    /// Returns the tokens of a bucket that will be full at this time.
    fn grown(&self, full: u64, now: u64) -> u32 {
        let there = self.whole().saturating_sub(full.saturating_sub(now)) / self.each;
        u32::try_from(there).unwrap_or(self.most)
    }

    /// Returns the time in which the whole bucket fills.
    fn whole(&self) -> u64 {
        self.each.saturating_mul(self.most.into())
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

/// Converts to nanoseconds in 64 bits, enough for five hundred years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, thread};

    use super::*;

    fn quota(burst: u32, per: Duration) -> Arc<Quota> {
        let number = |n| NonZeroU32::new(n).unwrap();
        Quota::new(Rate { count: number(1), per, burst: number(burst) }, None)
    }

    fn hourly(burst: u32) -> Arc<Quota> {
        quota(burst, Duration::from_secs(3600))
    }

    /// How many of so many are admitted.
    fn admitted(quota: &Quota, calls: CallCount, tried: usize) -> usize {
        (0..tried).filter(|_| quota.admit(calls).is_ok()).count()
    }

    #[test]
    fn a_call_that_is_looked_up_takes_two_at_once_and_gives_one_back_on_a_denial() {
        let quota = hourly(5);
        assert_eq!(admitted(&quota, CallCount::LookupAndWrite, 3), 2, "one is left");
        quota.give_back();
        quota.admit(CallCount::LookupAndWrite).unwrap();
        assert!(quota.admit(CallCount::Write).is_err());
    }

    #[test]
    fn where_one_is_all_that_can_be_had_at_once_a_call_is_looked_up_for_one() {
        let quota = hourly(1);
        quota.admit(CallCount::LookupAndWrite).unwrap();
        let exceeded = quota.admit(CallCount::Write).unwrap_err();
        assert!(exceeded.retry_after > Duration::from_secs(3500), "{exceeded:?}");
        assert!(exceeded.retry_after <= Duration::from_secs(3600), "{exceeded:?}");
    }

    #[test]
    fn what_comes_back_never_makes_more_than_a_full_bucket() {
        let quota = hourly(3);
        (0..10).for_each(|_| quota.give_back());
        assert_eq!(admitted(&quota, CallCount::Write, 10), 3);
    }

    #[test]
    fn what_only_looks_leaves_a_fifth_to_what_writes() {
        let quota = hourly(10);
        assert_eq!(admitted(&quota, CallCount::View, 9), 8);
        assert_eq!(admitted(&quota, CallCount::Write, 3), 2);
    }

    #[test]
    fn a_look_that_finds_nothing_left_besides_costs_nothing() {
        let quota = hourly(5);
        assert_eq!(admitted(&quota, CallCount::Write, 5), 5);
        assert_eq!(admitted(&quota, CallCount::LookupAndWrite, 10), 0);
        (0..2).for_each(|_| quota.give_back());
        quota.admit(CallCount::LookupAndWrite).unwrap();
    }

    #[test]
    fn a_trial_is_left_out_where_less_than_half_is_left() {
        let quota = hourly(10);
        let trials: Vec<bool> = (0..5).map(|_| quota.admit(CallCount::TrialAndWrite).unwrap()).collect();
        // 9, then 7, then 5 are left.
        assert_eq!(trials, [true, true, true, false, false]);
        assert!(!quota.admit(CallCount::Trial).unwrap());
    }

    #[test]
    fn many_at_once_take_what_is_there_and_no_more() {
        let quota = hourly(1000);
        let take = || admitted(&quota, CallCount::Write, 500);
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    fn tokens_grow_in_time() {
        let quota = quota(2, Duration::from_millis(1));
        for _ in 0..100 {
            while let Err(exceeded) = quota.admit(CallCount::LookupAndWrite) {
                assert!(exceeded.retry_after <= Duration::from_millis(2), "{exceeded:?}");
                thread::sleep(exceeded.retry_after);
            }
        }
    }
}
