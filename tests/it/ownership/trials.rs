//! Observed rules that depend on a job: their result is found on the side, if there is capacity, and changes
//! nothing.

use mpc_auth_proxy::testserver::Fault;
use serde_json::json;

use super::{ALL, OWN, put, seen, with_rules};
use crate::harness::{cancel, wait_for};

#[test]
fn a_trial_tells_what_would_be_and_its_failure_refuses_nothing() {
    let observed = observed(&OWN.replace("allow", "deny").replace("StringMatch", "StringNotMatch"));
    for (fault, mode) in [(None, "would_deny"), (Some(Fault::InternalError), "would_unknown")] {
        let proxy = with_rules(&[ALL, &observed]).start();
        put(&proxy, "1", "somebody");
        proxy.cloud().set_faults(fault.map(Fault::once));
        let answer = proxy.send(cancel("1"));
        assert_eq!((answer.status, seen(&proxy)), (204, (1, 1)), "{answer:?}");
        proxy.record(&answer).says(json!({ "policy.effect": "allow", "policy.mode": mode }));
    }
}

#[test]
fn a_call_that_is_denied_anyway_is_looked_up_to_tell_whether_a_rule_would_allow_it() {
    let observed = observed(OWN);
    for (user_data, mode, rule) in
        [("editor-api/42", "would_allow", json!("own")), ("somebody", "enforce", json!(null))]
    {
        let proxy = with_rules(&[&observed]).start();
        put(&proxy, "1", user_data);
        let answer = proxy.send(cancel("1")).refused(403, "PROXY.Forbidden");
        proxy.record(&answer).says(json!({
            "policy.effect": "deny", "policy.mode": mode, "policy.rule": rule, "upstream.attempts": 0,
            "lookup.status_code": 200, "facts": { "mpc:UserData": user_data },
        }));
        assert_eq!(seen(&proxy), (1, 0));
        let metrics = proxy.probe("/metrics").body;
        assert!(
            metrics.contains("decisions_total{rule=\"_default\",effect=\"deny\",mode=\"enforce\"} 1"),
            "{metrics}"
        );
    }
}

#[test]
fn a_trial_of_a_denied_call_is_left_out_where_it_costs_too_much_and_the_call_stays_denied() {
    let observed = observed(OWN);
    // A caller's eleventh in a minute; beyond half of a project's limit; frozen; failing.
    for (project, section, trials) in
        [("", "", 10), ("rate_limit: 4/h", "", 3), ("", "freeze_file: freeze", 0)]
    {
        let mut setup = with_rules(&[&observed]);
        if !project.is_empty() {
            setup = setup.project(project);
        }
        let proxy = setup.section(section).start();
        put(&proxy, "1", "editor-api/42");
        if !section.is_empty() {
            proxy.write("freeze", "");
            wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
        }
        for call in 0..12 {
            let answer = proxy.send(cancel("1")).refused(403, "PROXY.Forbidden");
            let mode = if call < trials { "would_allow" } else { "would_unknown" };
            proxy.record(&answer).says(json!({ "policy.effect": "deny", "policy.mode": mode }));
        }
        assert_eq!(seen(&proxy), (trials, 0));
    }
    let proxy = with_rules(&[&observed]).start();
    proxy.cloud().set_faults([Fault::InternalError.once()]);
    let answer = proxy.send(cancel("1")).refused(403, "PROXY.Forbidden");
    proxy.record(&answer).says(json!({ "policy.mode": "would_unknown" }));
}

fn observed(rule: &str) -> String {
    format!("{}, mode: observe }}", rule.strip_suffix(" }").unwrap())
}
