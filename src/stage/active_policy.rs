//! The active policy: everything that decisions depend on.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    clock,
    config::{ListenerTls, Settings},
    identity::Callers,
    limit::{CallerLimits, Limiter, fair_share},
    policy::Policy,
};

/// What one load of the files put in force, as a whole.
pub struct ActivePolicy {
    /// Identifies callers.
    pub callers: Callers,
    /// Decides what they may do.
    pub policy: Policy,
    /// Limits how often.
    pub limiter: Limiter,
    /// The maximum number of calls in flight, of which callers get shares.
    pub in_flight: usize,
    /// The TLS settings of listeners, kept here so that they change together with the policy.
    pub tls: HashMap<Arc<str>, ListenerTls>,
    /// When it took effect.
    pub since: DateTime<Utc>,
}

impl ActivePolicy {
    /// Creates it from settings. Limits that did not change keep their state.
    pub fn new(settings: Settings, before: Option<&Self>) -> Self {
        let none = Limiter::default();
        let projects = settings.projects.iter().filter_map(|p| Some((Arc::clone(&p.id), p.rate_limit?)));
        // It may have been lowered at start, and changes only with a restart.
        let in_flight = before.map_or(settings.limits.in_flight, |before| before.in_flight);
        let share = fair_share(in_flight, settings.caller_limits.len());
        let callers = settings.caller_limits.into_iter().map(|(caller, limits)| {
            (caller, CallerLimits { in_flight: limits.in_flight.or(share), ..limits })
        });
        let limiter = Limiter::new(callers, projects, before.map_or(&none, |b| &b.limiter));
        let Settings { callers, policy, tls, .. } = settings;
        Self { callers, policy, limiter, in_flight, tls, since: clock::now() }
    }
}
