//! The active policy: what requests are decided by.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    clock,
    config::{ListenerTls, Settings},
    identity::Callers,
    limit::{CallerLimits, Limiter, fair_share},
    policy::Policy,
};

/// What one reading of the files put in force, all of it together.
pub struct ActivePolicy {
    /// Who is who.
    pub callers: Callers,
    /// Who may do what.
    pub policy: Policy,
    /// How much of it.
    pub limiter: Limiter,
    /// How many calls the process takes on at once, by which callers' shares are measured.
    pub in_flight: usize,
    /// The TLS of the listeners that have one: the server's, handed along so that it changes with the policy.
    pub tls: HashMap<Arc<str>, ListenerTls>,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl ActivePolicy {
    /// What a configuration puts in force. Limits that did not change keep their state.
    pub fn new(settings: Settings, before: Option<&Self>) -> Self {
        let none = Limiter::default();
        let projects = settings.projects.iter().filter_map(|p| Some((Arc::clone(&p.id), p.rate_limit?)));
        // They may have been lowered at the start, and take a restart to change.
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
