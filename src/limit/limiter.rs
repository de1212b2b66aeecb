//! All limits in force.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::HashMap;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    CallCount, CallerLimits, Exceeded, LimitQuery, Rate, caller::CallerState, denials::Denials, quota::Quota,
};
use crate::identity::CallerId;

/// All limits in force.
#[derive(Default)]
pub struct Limiter {
    callers: HashMap<CallerId, Arc<CallerState>>,
    /// The quotas by project id.
    projects: HashMap<Arc<str>, Arc<Quota>>,
    denials: Arc<Denials>,
    /// The denials of calls that were looked up only to observe.
    trials: Arc<Denials>,
}

/// An admitted call, in flight until it is dropped.
#[derive(Debug, Default)]
pub struct Admission {
    _in_flight: Option<OwnedSemaphorePermit>,
    /// The quota of a call that may turn out not to be made.
    project: Option<Arc<Quota>>,
    has_trial: bool,
}

impl Limiter {
    /// Creates the limits of these callers and projects (by id). Limits that are the same as in `before` keep their state,
    /// so that a reload refills no bucket.
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

    /// Returns the callers, and projects by id, whose limits differ from `before`.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<String> {
        let (callers, projects) = (&before.callers, &before.projects);
        let callers =
            self.callers.iter().filter(|(id, own)| callers.get(*id).is_none_or(|it| !Arc::ptr_eq(it, own)));
        let projects =
            self.projects.iter().filter(|(id, own)| projects.get(*id).is_none_or(|it| !Arc::ptr_eq(it, own)));
        callers.map(|(id, _)| id.to_string()).chain(projects.map(|(id, _)| id.to_string())).collect()
    }

    /// Admits a call.
    ///
    /// # Errors
    /// If a limit is exceeded. If it is the project's, the caller's own tokens are not returned, so that a caller that keeps trying is
    /// slowed down by its own limit, too.
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

    /// Notes that a call of this caller was denied after a lookup.
    pub fn lookup_denied(&self, caller: &CallerId) {
        self.denials.note(caller);
    }
}

impl Admission {
    /// Whether the quota allows a lookup only for a rule under observation.
    pub fn has_trial(&self) -> bool {
        self.has_trial
    }

    /// Returns the call's own tokens to its project, because only its lookup was made.
    pub fn give_back(&self) {
        if let Some(project) = &self.project {
            project.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::{
        super::{Scope, caller::EXPECTED_CALL_TIME, fair_share},
        *,
    };
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

    fn admit(limiter: &Limiter, name: &str, action: &str, project_id: &str) -> Result<Admission, Exceeded> {
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
            admit(&limiter, "a", DELETE, "other").unwrap();
        }
        let exceeded = admit(&limiter, "a", DELETE, "other").unwrap_err();
        assert_eq!(exceeded.scope, Scope::Caller);
        assert!(
            exceeded.retry_after > Duration::from_secs(50) && exceeded.retry_after <= Duration::from_secs(60)
        );
        admit(&limiter, "b", DELETE, "other").unwrap();
    }

    #[test]
    fn all_callers_share_the_projects_quota() {
        let limiter = limiter(&Limiter::default(), 60);
        for name in ["a", "b", "c", "d", "e"] {
            admit(&limiter, name, DELETE, "p").unwrap();
        }
        assert_eq!(admit(&limiter, "f", DELETE, "p").unwrap_err().scope, Scope::Project);
        admit(&limiter, "f", DELETE, "other").unwrap();
    }

    #[test]
    fn calls_under_way_are_counted_until_they_are_over() {
        let limits = CallerLimits { in_flight: Some(number(2)), ..CallerLimits::default() };
        let limiter = Limiter::new([(caller("a"), limits)], [], &Limiter::default());
        let (one, _two) =
            (admit(&limiter, "a", DELETE, "p").unwrap(), admit(&limiter, "a", DELETE, "p").unwrap());
        assert_eq!(admit(&limiter, "a", DELETE, "p").unwrap_err().retry_after, EXPECTED_CALL_TIME);
        drop(one);
        admit(&limiter, "a", DELETE, "p").unwrap();
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
            admit(&before, "a", DELETE, "other").unwrap();
        }
        assert!(admit(&limiter(&before, 60), "a", DELETE, "other").is_err());
        assert!(admit(&limiter(&before, 61), "a", DELETE, "other").is_ok());
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
        let creates = |limiter: &Limiter| admit(limiter, "a", CREATE, "p").err();
        assert_eq!([creates(&before), creates(&before)], [None, None]);
        let exceeded = creates(&before).unwrap();
        assert_eq!(exceeded.scope, Scope::Caller);
        assert!(exceeded.retry_after > Duration::from_secs(40_000), "{exceeded:?}");
        admit(&before, "a", DELETE, "p").unwrap();
        admit(&before, "b", CREATE, "p").unwrap();
        assert!(creates(&limiter(Some(per_hour(60, 5)), day, &before)).is_some());
        assert!(creates(&limiter(None, per_hour(2, 2), &before)).is_none());
    }
}
