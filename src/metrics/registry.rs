//! The registry of all metrics.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use chrono::{DateTime, Utc};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Connections,
    collected::Collected,
    declare::{in_seconds, labels, registered},
    policy::PolicyMetrics,
    rates::{OutcomeRate, SAMPLE_INTERVAL, Samples},
};
use crate::{
    audit::{Record, Sink},
    clock::{self, Clocks},
    credential::CachedCredential,
    identity::CallerId,
    limit::Scope,
    policy::{Decision, Policy},
    reason::Reason,
    upstream::Upstream,
};

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    by_policy: PolicyMetrics,
    duration: Histogram,
    upstream_duration: Histogram,
    upstream_errors: Family<KindLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
    lookups: Family<OutcomeLabels, Counter>,
    in_flight: Gauge,
    refreshes: Family<RefreshLabels, Counter>,
    reloads: Family<OutcomeLabels, Counter>,
    last_reload: Gauge,
    policy: Family<HashLabels, Gauge>,
    connections: Connections,
    frozen: Gauge,
    observing: Gauge,
    audit_blocked: Gauge,
    reload_pending: Gauge,
    certificates: Family<ListenerLabels, Gauge>,
    ready: Gauge,
    samples: Samples,
}

/// The state of the process, for gauges of 0 and 1.
#[derive(Clone, Debug, Default)]
pub struct ProcessState {
    /// Whether it is ready, as in `/readyz`.
    pub ready: bool,
    /// Whether any caller is frozen.
    pub frozen: bool,
    /// Whether the policy or one of its rules is only observed.
    pub observing: bool,
    /// Whether the audit sink is blocked.
    pub audit_blocked: bool,
    /// Whether the files differ from the configuration in force.
    pub reload_pending: bool,
    /// The expiry of listeners' certificates, if known.
    pub certificates: Vec<(Arc<str>, DateTime<Utc>)>,
}

/// The exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A request in flight, counted until it is dropped.
pub struct InFlight(Gauge<i64, AtomicI64>);

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// The job's facts.
    Facts,
    /// There is no such job.
    Absent,
    /// Unknown.
    Unknown,
}

/// The names of the series that are created at zero.
pub struct ExpectedSeries<'a> {
    /// The listeners' names.
    pub listeners: &'a [Arc<str>],
    /// The callers of the policy.
    pub callers: &'a [CallerId],
    /// The policy.
    pub policy: &'a Policy,
    /// The credentials, which know their expiry.
    pub credentials: &'a [Arc<CachedCredential>],
    /// The endpoints, which know whether their circuits are open.
    pub upstreams: &'a [Arc<Upstream>],
    /// The projects' names.
    pub projects: &'a [Arc<str>],
    /// The audit sink, which has its own counts.
    pub sink: &'a Sink,
    /// The skew of the endpoints' clocks.
    pub clocks: &'a Clocks,
}

labels! {
    struct KindLabels { kind: &'static str }
    struct ReasonLabels { reason: &'static str }
    struct OutcomeLabels { outcome: &'static str }
    struct HashLabels { hash: String }
    struct ListenerLabels { listener: Arc<str> }
    struct RefreshLabels { credential: Arc<str>, outcome: &'static str }
}

impl Metrics {
    /// Creates all metrics, with every foreseeable series at zero.
    pub fn new(expected: &ExpectedSeries<'_>) -> Self {
        let mut registry = Registry::with_prefix("mpc_auth_proxy");
        let r = &mut registry;
        let by_policy = PolicyMetrics::new(expected.listeners, expected.projects);
        r.register_collector(Box::new(by_policy.clone()));
        r.register_collector(Box::new(Collected {
            sink: expected.sink.clone(),
            upstreams: expected.upstreams.to_vec(),
            credentials: expected.credentials.to_vec(),
            clocks: expected.clocks.clone(),
        }));
        r.register("build", "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        let (in_all, in_attempt) = (Histogram::new(BUCKETS), Histogram::new(BUCKETS));
        let metrics = Self {
            by_policy,
            duration: in_seconds(r, "request_duration", "Time from a request's head to its answer", in_all),
            upstream_duration: in_seconds(r, "upstream_request_duration", ATTEMPT_DURATION, in_attempt),
            upstream_errors: registered(r, "upstream_errors", "Attempts without a valid answer"),
            refusals: registered(r, "refusals", "Refused or failed requests, by cause"),
            lookups: registered(r, "lookups", "Job lookups for decisions"),
            in_flight: registered(r, "in_flight_requests", "Requests in flight"),
            refreshes: registered(r, "credential_refreshes", "Credential refreshes"),
            reloads: registered(r, "reloads", "Configuration reloads"),
            last_reload: in_seconds(r, "config_last_reload_success_timestamp", LAST_RELOAD, Gauge::default()),
            policy: registered(r, "policy_info", "The policy in force"),
            ready: registered(r, "ready", "Whether the proxy is ready, as in /readyz"),
            frozen: registered(r, "frozen", "Whether calls are frozen, for everybody or some callers"),
            observing: registered(
                r,
                "observing",
                "Whether the policy, or one of its rules, is in observe mode",
            ),
            audit_blocked: registered(r, "audit_blocked", "Whether the audit sink is blocked"),
            reload_pending: registered(r, "reload_pending", "Whether the files' content is not yet in force"),
            certificates: in_seconds(r, "certificate_expiry_timestamp", CERTIFICATE, Family::default()),
            connections: Connections::registered(r),
            samples: Samples::default(),
            registry,
        };
        metrics.preregister(expected);
        metrics
    }

    /// Returns the exposition, with the current state of the process.
    pub fn text(&self, format: Format, now: &ProcessState) -> String {
        let &ProcessState { ready, frozen, observing, audit_blocked, reload_pending, ref certificates } = now;
        self.ready.set(ready.into());
        self.frozen.set(frozen.into());
        self.observing.set(observing.into());
        self.audit_blocked.set(audit_blocked.into());
        self.reload_pending.set(reload_pending.into());
        for (listener, ends) in certificates {
            let labels = ListenerLabels { listener: Arc::clone(listener) };
            self.certificates.get_or_create(&labels).set(ends.timestamp());
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let out = encode(&mut out, &self.registry).map(|()| out).unwrap_or_default();
        match format {
            Format::OpenMetrics => out,
            Format::Classic => super::classic::of_open_metrics(&out),
        }
    }

    /// Returns the counters of connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns the number and rate of requests by outcome.
    pub fn outcomes(&self) -> Vec<OutcomeRate> {
        self.samples.rates(Instant::now(), &self.by_policy.outcomes())
    }

    /// Takes samples for the rates for as long as it is polled.
    pub async fn sample(&self) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            self.samples.take(now, self.by_policy.outcomes().iter().map(|(_, total)| *total));
        }
    }

    /// Counts a request in flight.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a finished request.
    pub fn finished(&self, record: &Record, took: Duration) {
        self.by_policy.finished(record);
        if let Some(error) = &record.error {
            self.refusals.get_or_create(&ReasonLabels { reason: error.reason.as_str() }).inc();
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a decision, and what a rule under observation would have decided.
    pub fn decided(&self, decision: &Decision<'_>) {
        self.by_policy.decided(decision);
    }

    /// Counts a call that was over a limit. The name is the caller's or the project's, as the scope says.
    pub fn rate_limited(&self, scope: Scope, caller: &CallerId, project: &Arc<str>) {
        self.by_policy.rate_limited(scope, caller, project);
    }

    /// Records the duration of an attempt.
    pub fn attempted(&self, took: Duration) {
        self.upstream_duration.observe(took.as_secs_f64());
    }

    /// Counts a failed attempt.
    pub fn attempt_failed(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&KindLabels { kind }).inc();
    }

    /// Counts a lookup.
    pub fn looked_up(&self, found: LookupOutcome) {
        self.lookups.get_or_create(&OutcomeLabels { outcome: found.as_str() }).inc();
    }

    /// Counts a request to a credential's source.
    pub fn refreshed(&self, credential: &Arc<str>, succeeded: bool) {
        self.refreshes.get_or_create(&RefreshLabels::new(credential, succeeded)).inc();
    }

    /// Creates the series of a policy's callers and rules at zero, and removes those of others.
    pub fn preregister_policy(&self, callers: &[CallerId], policy: &Policy) {
        self.by_policy.follow(callers, policy);
    }

    /// Counts a reload of the policy with this hash, or a failed one. Repeating the result of the same content is not
    /// counted.
    pub fn reloaded(&self, policy: Option<&str>, is_new: bool) {
        let outcome = if policy.is_some() { "success" } else { "failure" };
        if is_new {
            self.reloads.get_or_create(&OutcomeLabels { outcome }).inc();
        }
        if let Some(hash) = policy {
            self.policy_in_force(hash);
        }
    }

    fn policy_in_force(&self, hash: &str) {
        self.policy.clear();
        self.policy.get_or_create(&HashLabels { hash: hash.to_owned() }).set(1);
        self.last_reload.set(clock::now().timestamp());
    }

    fn preregister(&self, expected: &ExpectedSeries<'_>) {
        self.policy_in_force(expected.policy.hash());
        for outcome in ["success", "failure"] {
            drop(self.reloads.get_or_create(&OutcomeLabels { outcome }));
        }
        self.preregister_policy(expected.callers, expected.policy);
        for kind in ["connect", "closed", "stale", "timeout", "invalid"] {
            drop(self.upstream_errors.get_or_create(&KindLabels { kind }));
        }
        for found in LookupOutcome::ALL {
            drop(self.lookups.get_or_create(&OutcomeLabels { outcome: found.as_str() }));
        }
        for reason in Reason::ALL {
            drop(self.refusals.get_or_create(&ReasonLabels { reason: reason.as_str() }));
        }
        for credential in expected.credentials {
            for succeeded in [true, false] {
                drop(self.refreshes.get_or_create(&RefreshLabels::new(credential.name(), succeeded)));
            }
        }
    }
}

impl LookupOutcome {
    const ALL: [Self; 3] = [Self::Facts, Self::Absent, Self::Unknown];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}

impl RefreshLabels {
    fn new(credential: &Arc<str>, succeeded: bool) -> Self {
        let outcome = if succeeded { "success" } else { "failure" };
        Self { credential: Arc::clone(credential), outcome }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const ATTEMPT_DURATION: &str = "Time from an attempt's start to the end of upstream's answer";
const LAST_RELOAD: &str = "When the configuration in force was loaded";
const CERTIFICATE: &str = "When a listener's certificate expires";
/// The buckets in seconds. An answer of MPC takes tens of milliseconds, a time-out ten seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
