//! Log lines about a configuration that is put in force. What `check` finds in it, and what is enforced less than
//! before.

use std::collections::HashSet;

use crate::{
    config::Report,
    identity::Proof,
    policy::{Effect, Mode, Rule},
    stage::ActivePolicy,
};

/// Logs what `check` would say.
pub fn log_findings(findings: &Report) {
    for finding in findings.problems() {
        let (line, column) = finding.place.map_or((0, 0), |place| (place.line, place.column));
        tracing::warn!(place = format!("{}:{line}:{column}", finding.file), "{}", finding.message);
    }
}

/// Logs what is enforced less than before.
pub(super) fn log_weakened(before: &ActivePolicy, now: &ActivePolicy) {
    for what in weakened(before, now) {
        tracing::warn!(what, "the reloaded configuration enforces less than the one before");
    }
}

fn weakened(before: &ActivePolicy, now: &ActivePolicy) -> Vec<String> {
    let mut less = Vec::new();
    if (before.policy.mode(), now.policy.mode()) == (Mode::Enforce, Mode::Observe) {
        less.push("nothing is denied any more: the policy has `mode: observe`".to_owned());
    }
    let denies = |rule: &&Rule| rule.effect == Effect::Deny && rule.mode == Mode::Enforce;
    let denied: HashSet<&str> =
        before.policy.rules().iter().filter(denies).map(|rule| rule.id.as_str()).collect();
    let observed = now.policy.rules().iter().filter(|rule| rule.mode == Mode::Observe);
    for rule in observed {
        if denied.contains(rule.id.as_str()) {
            less.push(format!("the rule `{}` denies nothing any more: it has `mode: observe`", rule.id));
        }
    }
    let open = |in_force: &ActivePolicy| -> Vec<(String, String)> {
        let proofs = in_force.callers.proofs().filter_map(|(caller, proof)| {
            let Proof::Listener(listener) = proof else { return None };
            Some((listener.to_string(), caller.to_string()))
        });
        proofs.collect()
    };
    let known = open(before);
    for (listener, caller) in open(now) {
        if !known.iter().any(|(before, _)| *before == listener) {
            less.push(format!(
                "whoever connects to the listener `{listener}` is `{caller}` now, without a proof"
            ));
        }
    }
    less
}
