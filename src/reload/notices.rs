//! Log lines about a new configuration: its changes, its findings, and weakened enforcement.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    config::Report,
    identity::{CallerId, Proof},
    policy::{Effect, Mode, Rule},
    stage::ActivePolicy,
};

/// Logs the findings of `check`.
pub fn log_findings(findings: &Report) {
    for finding in findings.problems() {
        tracing::warn!(place = finding.position(), "{}", finding.message);
    }
}

/// Lists the changes by name; of secrets only whose they are.
pub(super) fn changes(before: &ActivePolicy, now: &ActivePolicy) -> String {
    let mut told = Vec::new();
    let mut tell = |what: &str, names: BTreeSet<String>| {
        let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
        let more = names.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if !shown.is_empty() {
            told.push(format!("{what} {}{more}", shown.join(", ")));
        }
    };
    let (old, new) = (rules(before), rules(now));
    tell("rules added:", names(new.keys().filter(|id| !old.contains_key(**id))));
    tell("rules removed:", names(old.keys().filter(|id| !new.contains_key(**id))));
    let differs = |(id, rule): &(&&str, &&Rule)| old.get(**id).is_some_and(|other| !is_same(other, rule));
    tell("rules changed:", names(new.iter().filter(differs).map(|(id, _)| id)));
    let (old, new) = (callers(before), callers(now));
    tell("callers added:", names(new.keys().filter(|id| !old.contains_key(*id))));
    tell("callers removed:", names(old.keys().filter(|id| !new.contains_key(*id))));
    let differs = |(id, proofs): &(&String, &Vec<&Proof>)| old.get(*id).is_some_and(|other| other != *proofs);
    tell("proofs changed:", names(new.iter().filter(differs).map(|(id, _)| id)));
    let limits = now.limiter.changed_since(&before.limiter);
    tell("limits changed:", limits.union(&before.limiter.changed_since(&now.limiter)).cloned().collect());
    let ends = |tls: &ActivePolicy, name: &str| tls.tls.get(name).map(|tls| tls.ends);
    tell("certificates changed:", names(now.tls.keys().filter(|name| ends(before, name) != ends(now, name))));
    if before.policy.mode() != now.policy.mode() {
        told.push(format!("mode: {}", now.policy.mode().as_str()));
    }
    match (told.is_empty(), before.policy.hash() == now.policy.hash()) {
        (false, _) => told.join("; "),
        (true, true) => "nothing".into(),
        (true, false) => "only the policy's text, or the order of its rules".into(),
    }
}

fn rules(active: &ActivePolicy) -> HashMap<&str, &Rule> {
    active.policy.rules().iter().map(|rule| (rule.id.as_str(), rule)).collect()
}

/// Whether two rules are the same, regardless of their location.
fn is_same(one: &Rule, other: &Rule) -> bool {
    let Rule { id, effect, callers, actions, projects, jobs, condition, expires, mode, location: _, reason } =
        one;
    (id, effect, mode, expires, reason)
        == (&other.id, &other.effect, &other.mode, &other.expires, &other.reason)
        && (callers, actions, projects, jobs)
            == (&other.callers, &other.actions, &other.projects, &other.jobs)
        && *condition == other.condition
}

fn callers(active: &ActivePolicy) -> HashMap<String, Vec<&Proof>> {
    let mut callers: HashMap<String, Vec<&Proof>> =
        active.callers.ids().iter().map(|id| (id.to_string(), Vec::new())).collect();
    for (caller, proof) in active.callers.proofs() {
        callers.entry(caller.to_string()).or_default().push(proof);
    }
    callers
}

fn names<N: ToString>(names: impl Iterator<Item = N>) -> BTreeSet<String> {
    names.map(|name| name.to_string()).collect()
}

const MAX_NAMED: usize = 16;

pub(super) fn log_weakened(weakened: &[String]) {
    for what in weakened {
        tracing::warn!(what, "the reloaded configuration enforces less than before");
    }
}

pub(super) fn weakened(before: &ActivePolicy, now: &ActivePolicy) -> Vec<String> {
    let mut less = Vec::new();
    if (before.policy.mode(), now.policy.mode()) == (Mode::Enforce, Mode::Observe) {
        less.push("nothing is denied any more: the policy has `mode: observe`".to_owned());
    }
    let denies = |rule: &&Rule| rule.effect == Effect::Deny && rule.mode == Mode::Enforce;
    let denied: HashSet<&str> =
        before.policy.rules().iter().filter(denies).map(|rule| rule.id.as_str()).collect();
    let observed = now.policy.rules().iter().filter(|rule| rule.mode == Mode::Observe);
    let observed = observed.filter(|rule| denied.contains(rule.id.as_str()));
    less.extend(observed.map(|rule| format!("rule `{}` no longer denies: it has `mode: observe`", rule.id)));
    let known: HashSet<&str> = open_listeners(before).map(|(listener, _)| listener).collect();
    let opened = open_listeners(now).filter(|(listener, _)| !known.contains(listener));
    less.extend(opened.map(|(listener, caller)| {
        format!("anyone who connects to the listener `{listener}` is now `{caller}`, without proof")
    }));
    less
}

/// Returns the listeners that identify a caller by themselves.
fn open_listeners(policy: &ActivePolicy) -> impl Iterator<Item = (&str, &CallerId)> {
    policy.callers.proofs().filter_map(|(caller, proof)| {
        if let Proof::Listener(listener) = proof { Some((&**listener, caller)) } else { None }
    })
}
