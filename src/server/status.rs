//! The `/status` document.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{Health, hostname::hostname, operators::Operators};
use crate::{
    audit::{Blockage, Recent, RecordedFacts, Sink, request_id},
    clock,
    credential::{CachedCredential, CredentialStatus},
    identity::CallerId,
    limit::{Cutoff, Freeze, FreezeScope, Frozen},
    metrics,
    policy::{DecisionReport, Mode, Policy, Question, QuestionError, Scope},
    reload::{Reloader, SyncState, SyncStatus},
    sandbox::{self, Sandbox},
    stage::{ActivePolicy, Project},
    upstream::Upstream,
};

/// The state of a running proxy, and what an operator may change about it.
#[derive(Clone)]
pub struct ProxyStatus {
    pub(super) health: Health,
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) operators: Operators,
    pub(super) recent: Arc<Recent>,
    pub(super) sink: Sink,
    pub(super) recorded_facts: RecordedFacts,
    pub(super) credentials: Vec<Arc<CachedCredential>>,
    pub(super) projects: Vec<Arc<Project>>,
    pub(super) cutoff: Cutoff,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    pub(super) listeners: Vec<(Arc<str>, String)>,
    pub(super) since: DateTime<Utc>,
}

impl ProxyStatus {
    /// Returns the health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Returns the reloader.
    pub fn reloader(&self) -> &Reloader {
        &self.operators.reloader
    }

    /// Returns who is frozen.
    pub fn freeze(&self) -> &Freeze {
        &self.operators.freeze
    }

    /// Returns what operators may change.
    pub fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Whether the policy in force knows this caller.
    pub fn is_known(&self, caller: &CallerId) -> bool {
        self.in_force.load().callers.ids().contains(caller)
    }

    /// Returns the names of the callers in force.
    pub fn callers(&self) -> Vec<String> {
        self.in_force.load().callers.ids().iter().map(ToString::to_string).collect()
    }

    /// Returns the configured projects.
    pub fn scopes(&self) -> Vec<Scope> {
        let scope = |project: &Arc<Project>| Scope { name: project.name().into(), id: project.id().into() };
        self.projects.iter().map(scope).collect()
    }

    /// Evaluates the policy in force.
    ///
    /// # Errors
    /// As [`Question::ask`].
    pub fn ask(&self, question: &Question<'_>) -> Result<DecisionReport, QuestionError> {
        let in_force = self.in_force.load();
        question.ask(&in_force.policy, in_force.callers.ids(), &self.scopes())
    }

    /// Returns who is frozen, as in `/status`.
    pub fn frozen(&self) -> Vec<Value> {
        self.freeze().in_force().iter().map(|(by, frozen)| freeze(by, frozen)).collect()
    }

    /// Returns a request id for an answer outside the request path.
    pub fn request_id(&self) -> String {
        request_id(clock::now(), &hostname())
    }

    /// Returns the state that metrics show.
    pub fn state(&self) -> metrics::ProcessState {
        let policy = self.in_force.load();
        metrics::ProcessState {
            ready: self.health.is_ready(),
            frozen: !self.freeze().in_force().is_empty(),
            observing: policy.policy.mode() == Mode::Observe || !observing(&policy.policy).is_empty(),
            audit_blocked: self.sink.stats().blocked.is_some(),
            reload_pending: self.reloader().sync_status().state != SyncState::InForce,
            certificates: policy
                .tls
                .iter()
                .filter_map(|(name, tls)| Some((Arc::clone(name), tls.ends?)))
                .collect(),
        }
    }

    /// Returns the document. Times are RFC 3339 in UTC, durations are seconds; it has no secret. A request from this machine
    /// (`near`) also gets the jobs, projects and peers of the latest decisions, and the beginnings of keys.
    pub fn status(&self, near: bool) -> Value {
        let mut document = self.condition(near);
        if let Some(members) = document.as_object_mut() {
            let records = self.recent.records().into_iter();
            members.insert("decisions".into(), records.map(|record| decision(record, near)).collect());
        }
        document
    }

    /// Returns the document without the latest decisions, which are read from a hundred records.
    pub fn condition(&self, near: bool) -> Value {
        let (now, in_force, sink) = (clock::now(), self.in_force.load(), self.sink.stats());
        let frozen = self.frozen();
        let lost_sockets = self.health.lost_sockets(true);
        let lost =
            |address: &str| lost_sockets.iter().find(|(lost, _)| lost == address).map(|(_, problem)| problem);
        let ends = |name: &Arc<str>| in_force.tls.get(name).and_then(|tls| tls.ends);
        let problem = |name, address: &str| {
            let ended = || ends(name).filter(|ends| *ends < now).map(ended);
            lost(address).cloned().or_else(ended)
        };
        let listeners: Vec<Value> = self
            .listeners
            .iter()
            .map(|(name, address)| json!({ "name": name, "address": address, "certificate_ends": ends(name).map(rfc3339), "problem": problem(name, address) }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": rfc3339(self.since),
            "uptime_seconds": (now - self.since).num_seconds(),
            "ready": self.health.is_ready(),
            "draining": self.health.is_draining(),
            "frozen": !frozen.is_empty(),
            "freeze": frozen,
            "listeners": listeners,
            "admin_problem": self.health.lost_sockets(false).first().map(|(_, problem)| problem),
            "policy": {
                "hash": &**in_force.policy.hash(),
                "rules": in_force.policy.rules().len(),
                "mode": in_force.policy.mode().as_str(),
                "observing": observing(&in_force.policy),
                "loaded": rfc3339(in_force.since),
                "age_seconds": (now - in_force.since).num_seconds(),
            },
            "reload": reload(self.reloader().sync_status()),
            "credentials": self.credentials.iter().map(|cached| credential(cached, near)).collect::<Vec<_>>(),
            "upstreams": self.upstreams.iter().map(|upstream| how_is(upstream)).collect::<Vec<_>>(),
            "audit": {
                "sink": self.sink.name(),
                "dropped": sink.dropped,
                "waiting": sink.waiting,
                "blocked": sink.blocked.as_ref().map(blocked),
            },
            "sandbox": sandbox::current().map(sandbox),
            "out_of_reach": sandbox::current().map(Sandbox::lost).unwrap_or_default(),
        })
    }
}

/// Formats a freeze. `callers` is null if all callers are frozen.
fn freeze(by: &str, frozen: &Frozen) -> Value {
    let said = &frozen.said;
    json!({
        "by": by,
        "callers": (said.scope != FreezeScope::Everybody).then(|| said.scope.names()),
        "since": rfc3339(frozen.since),
        "reason": said.reason,
        "uid": said.uid,
        "time": said.time.map(rfc3339),
        "problem": said.problem,
    })
}

fn blocked(blockage: &Blockage) -> Value {
    let Blockage { error, since, refused } = blockage;
    json!({ "error": error, "since": rfc3339(*since), "refused": refused })
}

/// Returns the rules under observation.
fn observing(policy: &Policy) -> Vec<&str> {
    let observed = policy.rules().iter().filter(|rule| rule.mode == Mode::Observe);
    observed.map(|rule| rule.id.as_str()).collect()
}

fn reload(SyncStatus { state, problem, since }: SyncStatus) -> Value {
    json!({ "state": state.as_str(), "problem": problem, "since": rfc3339(since) })
}

fn sandbox(sandbox: &Sandbox) -> Value {
    sandbox.measures().into_iter().map(|(measure, state)| (measure, state.to_string())).collect()
}

fn credential(cached: &CachedCredential, near: bool) -> Value {
    let CredentialStatus { ready, key_hint, expires_at, held_back, problem, candidates, .. } = cached.state();
    let candidates: Vec<Value> = candidates
        .iter()
        .map(|each| json!({ "source": each.source, "passed_over": each.passed_over }))
        .collect();
    json!({
        "name": &**cached.name(),
        "source": cached.source(),
        "ready": ready,
        "key_hint": key_hint.filter(|_| near),
        "expires_at": expires_at.map(rfc3339),
        "held_back_seconds": held_back.map(|left| left.as_secs()),
        "problem": problem.as_deref(),
        "looked_at": candidates,
    })
}

/// Reduces a decision to what the requester may see.
fn decision(mut record: Value, near: bool) -> Value {
    if let (false, Value::Object(members)) = (near, &mut record) {
        members.retain(|name, _| PUBLIC_FIELDS.contains(&name.as_str()));
    }
    record
}

fn how_is(upstream: &Upstream) -> Value {
    json!({
        "endpoint": &**upstream.name(),
        "proxy": upstream.proxy().map(|proxy| proxy.endpoint().to_string()),
        "circuit": if upstream.breaker().is_open() { "open" } else { "closed" },
        "clock_skew_seconds": upstream.clock().measured().num_seconds(),
        "clock_problem": upstream.clock().problem(),
    })
}

/// The problem of a listener whose certificate has expired.
fn ended(ends: DateTime<Utc>) -> String {
    format!("its certificate expired at {}: replace its file", rfc3339(ends))
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The fields for everybody who reaches the ops port: configured names, numbers and times.
const PUBLIC_FIELDS: [&str; 12] = [
    "timestamp",
    "caller.id",
    "caller.identified_by",
    "listener",
    "http.response.status_code",
    "mpc.action",
    "policy.effect",
    "policy.rule",
    "outcome",
    "error.type",
    "error.reason",
    "duration_ms",
];
