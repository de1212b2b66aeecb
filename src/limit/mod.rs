//! Rate limits of callers and projects.
//!
//! A token bucket each (GCRA, by the governor crate) and a number of calls under way. It stands beside policy:
//! policy says whether a call may be made at all, this whether it may be made now. What it says about when to come
//! back is true: a caller that waits as long, and is alone, is let through. That all of them together are not too
//! many for this process is not asked here: that is the stack's concurrency limit.

mod cutoff;
mod denials;
mod freeze;
pub mod freeze_file;
mod quota;
mod byte_budget;

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use foldhash::HashMap;
use governor::{DefaultDirectRateLimiter, clock::Clock, clock::DefaultClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use byte_budget::{ByteBudget, ByteReservation};
pub use cutoff::Cutoff;
use denials::Denials;
pub use freeze::{AllCallersFrozen, Freeze, FreezeEntry, FreezeScope, Frozen};
use quota::Quota;

use crate::{identity::CallerId, reason::Reason};

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

/// All limits in force.
#[derive(Default)]
pub struct Limiter {
    callers: HashMap<CallerId, Arc<CallerState>>,
    /// By project id.
    projects: HashMap<Arc<str>, Arc<Quota>>,
    denials: Arc<Denials>,
    /// The same of trials of calls that are denied anyway.
    trials: Arc<Denials>,
}

/// A call that is within its limits, until it is dropped.
#[derive(Debug, Default)]
pub struct Admission {
    _in_flight: Option<OwnedSemaphorePermit>,
    /// What one call was taken from that is perhaps not made.
    project: Option<Arc<Quota>>,
    has_trial: bool,
}

/// A call as limits see it.
#[derive(Clone, Copy, Debug)]
pub struct LimitQuery<'a> {
    /// Whose.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its id.
    pub project_id: &'a str,
    /// What it takes upstream.
    pub calls: CallCount,
}

/// What a call of a caller takes upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallCount {
    /// One that changes something.
    Write,
    /// One that looks.
    View,
    /// One that looks, and then perhaps one that looks again.
    LookupAndView,
    /// One that looks, and then perhaps one that changes something.
    LookupAndWrite,
    /// One that changes something; and, where much is left, before it one that looks.
    TrialAndWrite,
    /// Where much is left, one that looks, for a call that is denied anyway.
    Trial,
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The caller's own.
    Caller,
    /// The project's, which all callers share.
    Project,
    /// What one caller may be denied by what was looked up for it.
    DeniedLookups,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .scope.reason())]
pub struct Exceeded {
    /// Whose.
    pub scope: Scope,
    /// When there is room again, if nobody else takes it.
    pub retry_after: Duration,
}

struct CallerState {
    limits: CallerLimits,
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

impl Scope {
    /// The cause of what is refused for it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Caller => Reason::CallerLimit,
            Self::Project => Reason::ProjectLimit,
            Self::DeniedLookups => Reason::DeniedLookups,
        }
    }
}

impl Limiter {
    /// The limits of these callers and projects (by id). Whoever has the same limits as in `before` keeps the
    /// state of them: a reload gives nobody a full bucket.
    pub fn new(
        callers: impl IntoIterator<Item = (CallerId, CallerLimits)>,
        projects: impl IntoIterator<Item = (Arc<str>, Rate)>,
        before: &Self,
    ) -> Self {
        let callers = callers.into_iter().map(|(id, limits)| {
            let caller = match before.callers.get(&id) {
                Some(caller) if caller.limits == limits => Arc::clone(caller),
                caller => Arc::new(CallerState::new(limits, caller.map(|caller| &**caller))),
            };
            (id, caller)
        });
        let projects = projects.into_iter().map(|(id, rate)| {
            let quota = Quota::new(rate, before.projects.get(&id));
            (id, quota)
        });
        let (denials, trials) = (Arc::clone(&before.denials), Arc::clone(&before.trials));
        Self { callers: callers.collect(), projects: projects.collect(), denials, trials }
    }

    /// Whose limits are not those that `before` has: callers, and projects by id.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<String> {
        let (callers, projects) = (&before.callers, &before.projects);
        let callers =
            self.callers.iter().filter(|(id, own)| callers.get(*id).is_none_or(|it| !Arc::ptr_eq(it, own)));
        let projects =
            self.projects.iter().filter(|(id, own)| projects.get(*id).is_none_or(|it| !Arc::ptr_eq(it, own)));
        callers.map(|(id, _)| id.to_string()).chain(projects.map(|(id, _)| id.to_string())).collect()
    }

    /// Takes what one call needs.
    ///
    /// # Errors
    /// Where there is not enough. What was taken from the caller is not given back when the project has none: a
    /// caller that keeps trying is slowed down by its own limit too.
    pub fn admit(&self, asked: &LimitQuery<'_>) -> Result<Admission, Exceeded> {
        match asked.calls {
            CallCount::LookupAndWrite => self.denials.check(asked.caller)?,
            CallCount::Trial => self.trials.check(asked.caller)?,
            CallCount::Write | CallCount::View | CallCount::LookupAndView | CallCount::TrialAndWrite => {}
        }
        let in_flight = match self.callers.get(asked.caller) {
            Some(caller) => caller.admit(asked.action)?,
            None => None,
        };
        let project = self.projects.get(asked.project_id);
        let has_trial = match project {
            Some(project) => project.admit(asked.calls)?,
            None => matches!(asked.calls, CallCount::TrialAndWrite | CallCount::Trial),
        };
        if has_trial && asked.calls == CallCount::Trial {
            self.trials.note(asked.caller);
        }
        let project = project.filter(|_| asked.calls == CallCount::LookupAndWrite).map(Arc::clone);
        Ok(Admission { _in_flight: in_flight, project, has_trial })
    }

    /// Notes that a call of this caller was denied by what was looked up.
    pub fn lookup_denied(&self, caller: &CallerId) {
        self.denials.note(caller);
    }
}

impl Admission {
    /// Whether there is enough left to look a job up for nothing but a rule under observation.
    pub fn has_trial(&self) -> bool {
        self.has_trial
    }

    /// Gives back what the call itself would have taken of its project: only its job was looked up.
    pub fn give_back(&self) {
        if let Some(project) = &self.project {
            project.give_back();
        }
    }
}

impl CallerState {
    /// Actions of which the rate is as it was keep what is left of it: a day is long.
    fn new(limits: CallerLimits, before: Option<&Self>) -> Self {
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

    fn admit(&self, action: &str) -> Result<Option<OwnedSemaphorePermit>, Exceeded> {
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

impl Rate {
    fn bucket(self) -> DefaultDirectRateLimiter {
        let period = self.per / self.count.get();
        // A period that rounds to nothing is no limit that a clock of nanoseconds could hold.
        let quota = governor::Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| governor::Quota::per_second(self.count));
        DefaultDirectRateLimiter::direct(quota.allow_burst(self.burst))
    }
}

fn take(bucket: &DefaultDirectRateLimiter, scope: Scope) -> Result<(), Exceeded> {
    bucket.check().map_err(|not_until| {
        let retry_after = not_until.wait_time_from(DefaultClock::default().now());
        Exceeded { scope, retry_after }
    })
}

/// When a call that is under way will be over, nobody knows; this is a fair guess.
const EXPECTED_CALL_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{CREATE, DELETE};

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    fn per_hour(count: u32, burst: u32) -> Rate {
        Rate { count: number(count), per: Duration::from_secs(3600), burst: number(burst) }
    }

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn admit(
        limiter: &Limiter,
        name: &str,
        (action, project_id): (&str, &str),
    ) -> Result<Admission, Exceeded> {
        limiter.admit(&LimitQuery { caller: &caller(name), action, project_id, calls: CallCount::Write })
    }

    fn limiter(before: &Limiter, count: u32) -> Limiter {
        let limits = CallerLimits { rate: Some(per_hour(count, 3)), ..CallerLimits::default() };
        Limiter::new([(caller("a"), limits)], [("p".into(), per_hour(60, 5))], before)
    }

    #[test]
    fn a_caller_has_its_burst_and_then_its_rate() {
        let limiter = limiter(&Limiter::default(), 60);
        for _ in 0..3 {
            admit(&limiter, "a", (DELETE, "other")).unwrap();
        }
        let exceeded = admit(&limiter, "a", (DELETE, "other")).unwrap_err();
        assert_eq!(exceeded.scope, Scope::Caller);
        assert!(
            exceeded.retry_after > Duration::from_secs(50) && exceeded.retry_after <= Duration::from_secs(60)
        );
        admit(&limiter, "b", (DELETE, "other")).unwrap();
    }

    #[test]
    fn all_callers_share_the_projects_quota() {
        let limiter = limiter(&Limiter::default(), 60);
        for name in ["a", "b", "c", "d", "e"] {
            admit(&limiter, name, (DELETE, "p")).unwrap();
        }
        assert_eq!(admit(&limiter, "f", (DELETE, "p")).unwrap_err().scope, Scope::Project);
        admit(&limiter, "f", (DELETE, "other")).unwrap();
    }

    #[test]
    fn calls_under_way_are_counted_until_they_are_over() {
        let limits = CallerLimits { in_flight: Some(number(2)), ..CallerLimits::default() };
        let limiter = Limiter::new([(caller("a"), limits)], [], &Limiter::default());
        let (one, _two) =
            (admit(&limiter, "a", (DELETE, "p")).unwrap(), admit(&limiter, "a", (DELETE, "p")).unwrap());
        assert_eq!(admit(&limiter, "a", (DELETE, "p")).unwrap_err().retry_after, EXPECTED_CALL_TIME);
        drop(one);
        admit(&limiter, "a", (DELETE, "p")).unwrap();
    }

    #[test]
    fn a_fair_share_is_half_where_there_are_others() {
        for (in_flight, callers, share) in
            [(1024, 1, None), (1024, 2, Some(512)), (1024, 50, Some(512)), (3, 2, Some(1)), (1, 2, Some(1))]
        {
            assert_eq!(fair_share(in_flight, callers), share.map(number), "{in_flight} {callers}");
        }
    }

    #[test]
    fn a_reload_refills_only_what_it_changes() {
        let before = limiter(&Limiter::default(), 60);
        for _ in 0..3 {
            admit(&before, "a", (DELETE, "other")).unwrap();
        }
        assert!(admit(&limiter(&before, 60), "a", (DELETE, "other")).is_err());
        assert!(admit(&limiter(&before, 61), "a", (DELETE, "other")).is_ok());
    }

    #[test]
    fn an_action_has_a_limit_of_its_own_which_a_reload_refills_only_where_it_changes() {
        let limiter = |rate, create: Rate, before: &Limiter| {
            let limits =
                CallerLimits { rate, per_action: [(CREATE, create)].into(), ..CallerLimits::default() };
            Limiter::new([(caller("a"), limits)], [], before)
        };
        let day = Rate { per: Duration::from_secs(86_400), ..per_hour(2, 2) };
        let before = limiter(None, day, &Limiter::default());
        let creates = |limiter: &Limiter| admit(limiter, "a", (CREATE, "p")).err();
        assert_eq!([creates(&before), creates(&before)], [None, None]);
        let exceeded = creates(&before).unwrap();
        assert_eq!(exceeded.scope, Scope::Caller);
        assert!(exceeded.retry_after > Duration::from_secs(40_000), "{exceeded:?}");
        admit(&before, "a", (DELETE, "p")).unwrap();
        admit(&before, "b", (CREATE, "p")).unwrap();
        assert!(creates(&limiter(Some(per_hour(60, 5)), day, &before)).is_some());
        assert!(creates(&limiter(None, per_hour(2, 2), &before)).is_none());
    }
}
