//! Authorization: what the policy allows is sent, everything else is refused, and the record names the
//! rule.

use serde_json::{Value, json};

use crate::harness::{Answer, PROJECT, Proxy, Setup, cancel, request};

#[test]
fn an_allowed_call_is_recorded_with_the_rule_that_allows_it() {
    let proxy = with_rules(&[ALLOW_ALL]);
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let record = proxy.record(&answer);
    record.says(json!({
        "policy.effect": "allow", "policy.rule": "all", "policy.location": "policy.yaml:8",
        "policy.mode": "enforce", "mpc.action": "mpc:editingTask:delete", "mpc.project_id": PROJECT,
        "mpc.job_id": "100211", "http.route": "/v2/{project_id}/editing/jobs/{job_id}",
        "http.response.status_code": 204, "outcome": "forwarded", "error.type": null,
    }));
    assert_eq!(record.text("policy.hash").len(), 16);
    proxy.upstream_saw(1);
}

#[test]
fn what_no_rule_allows_is_denied() {
    for (rule, closest) in [
        // Each rule matches the call except for one part. Rules of other callers are not mentioned.
        (rule("other", "allow", "callers: [other], actions: ['*'], projects: ['*'], jobs: ['*']"), None),
        (
            rule("other", "allow", "callers: ['*'], actions: ['*'], projects: [media-test], jobs: ['*']"),
            Some("projects"),
        ),
        (
            rule("other", "allow", "callers: ['*'], actions: ['*'], projects: ['*'], jobs: [100212]"),
            Some("jobs"),
        ),
        (
            rule("other", "allow", "callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['tmp-*']"),
            Some("jobs"),
        ),
    ] {
        let proxy = with_rules(&[&rule.replace("[100212]", "['100212']")]);
        let answer = is_denied(&proxy, "app", None);
        let closest = closest.map(|field| {
            format!("; rule `other` at policy.yaml:8 comes closest, but its `{field}` do not match")
        });
        assert_eq!(
            answer.error_msg(),
            format!(
                "denied by policy: no rule allows this call (caller: `editor-api`){}",
                closest.unwrap_or_default()
            )
        );
    }
}

#[test]
fn an_explicit_denial_wins_wherever_it_stands() {
    let deny = rule("no", "deny", "callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['1002*']");
    for (rules, place) in [([ALLOW_ALL, &deny], "policy.yaml:9"), ([&*deny, ALLOW_ALL], "policy.yaml:8")] {
        let proxy = with_rules(&rules);
        let answer = is_denied(&proxy, "app", Some(("no", place)));
        assert_eq!(
            answer.error_msg(),
            format!("denied by policy: rule `no` at {place} denies it (caller: `editor-api`)")
        );
        proxy.queue("tmp-1");
        let answer = proxy.send(cancel("tmp-1")).with_status(204);
        proxy.record(&answer).says(json!({ "policy.effect": "allow", "policy.rule": "all" }));
        proxy.upstream_saw(1);
    }
}

#[test]
fn a_glob_matches_whole_names_and_their_case() {
    let proxy = with_rules(&[&rule(
        "some",
        "allow",
        "callers: ['editor-*'], actions: ['mpc:editingTask:*'], projects: ['*-prod'], jobs: ['tmp-*', '*-draft', 'a*b*c']",
    )]);
    let mut allowed = 0;
    for (job, status) in [
        ("tmp-1", 204),
        ("tmp-", 204),
        ("x-draft", 204),
        ("-draft", 204),
        ("abc", 204),
        ("a1b2c", 204),
        ("tmp", 403),
        ("Tmp-1", 403),
        ("xtmp-1", 403),
        ("draft", 403),
        ("x-draft2", 403),
        ("acb", 403),
        ("a1b2", 403),
    ] {
        proxy.queue(job);
        let answer = proxy.send(cancel(job));
        assert_eq!(answer.status, status, "{job}");
        let effect = if status == 204 { "allow" } else { "deny" };
        proxy.record(&answer).says(json!({ "policy.effect": effect, "mpc.job_id": job }));
        allowed += usize::from(status == 204);
    }
    proxy.upstream_saw(allowed);
}

#[test]
fn a_project_may_be_named_by_its_name_or_its_id_on_both_sides() {
    for written in ["media-prod", PROJECT] {
        let lists = format!("callers: ['*'], actions: ['*'], projects: ['{written}'], jobs: ['*']");
        let proxy = with_rules(&[&rule("one", "allow", &lists)]);
        for named in ["media-prod", PROJECT] {
            proxy.queue("100211");
            let answer = proxy.send(request("DELETE", &format!("/v2/{named}/editing/jobs/100211"), &[]));
            assert_eq!(answer.status, 204, "{written} {named}");
            proxy.record(&answer).says(json!({ "mpc.project_id": PROJECT, "policy.rule": "one" }));
        }
        for seen in proxy.upstream_saw(2) {
            assert_eq!(seen.target, format!("/v2/{PROJECT}/editing/jobs/100211"));
        }
    }
}

#[test]
fn a_project_that_is_not_configured_is_refused_whatever_the_policy_says() {
    let proxy = with_rules(&[ALLOW_ALL]);
    for project in ["media-none", "ffffffffffffffffffffffffffffffff", "Media-Prod", "media-pro"] {
        let answer = proxy
            .send(request("DELETE", &format!("/v2/{project}/editing/jobs/100211"), &[]))
            .refused(403, "PROXY.Forbidden");
        assert_eq!(answer.error_msg(), "unknown project: not configured here");
        proxy.record(&answer).says(json!({
            "caller.id": "editor-api", "mpc.project_id": null, "mpc.job_id": "100211",
            "policy.effect": null, "outcome": "refused", "error.type": "PROXY.Forbidden",
        }));
    }
    proxy.upstream_saw(0);
}

#[test]
fn the_rule_is_named_on_loopback_and_unix_listeners_and_on_no_other() {
    let rules =
        [&*rule("hush", "deny", "callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*']"), ALLOW_ALL];
    let proxy = Setup::new()
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: local, bind: 'unix:proxy.sock' }",
            "{ name: mesh, bind: 0.0.0.0:0, hosts: any, unsafe_listen: true }",
        ])
        .policy(&policy("{ listener: app }, { listener: local }, { listener: mesh }", &rules))
        .start();
    for (listener, named) in [("app", true), ("local", true), ("mesh", false)] {
        let answer = is_denied(&proxy, listener, Some(("hush", "policy.yaml:8")));
        let said = format!("{answer:?}");
        for secret in ["hush", "policy.yaml"] {
            assert_eq!(said.contains(secret), named, "{listener}: {said}");
        }
    }
}

/// Asserts 403, nothing sent, and the denying rule in the record, if any.
fn is_denied(proxy: &Proxy, listener: &str, by: Option<(&str, &str)>) -> Answer {
    let answer = proxy.send_to(listener, cancel("100211")).refused(403, "PROXY.Forbidden");
    let (rule, place) = by.map_or((Value::Null, Value::Null), |(rule, place)| (rule.into(), place.into()));
    proxy.record(&answer).says(json!({
        "caller.id": "editor-api", "policy.effect": "deny", "policy.rule": rule, "policy.location": place,
        "policy.mode": "enforce", "mpc.project_id": PROJECT, "http.response.status_code": 403,
        "outcome": "refused", "error.type": "PROXY.Forbidden", "upstream.attempts": 0, "credential.name": null,
    }));
    proxy.upstream_saw(0);
    answer
}

/// One rule per line, from line 8.
fn with_rules(rules: &[&str]) -> Proxy {
    Setup::new().policy(&policy("{ listener: app }", rules)).project(ANOTHER_PROJECT).start()
}

fn policy(proofs: &str, rules: &[&str]) -> String {
    format!(
        "version: 1

callers:
  editor-api: {{ identify: [ {proofs} ] }}
  other: {{ identify: [ {{ bearer: {{ sha256_file: oncall.sha256 }} }} ] }}

rules:
  - {}
",
        rules.join("\n  - ")
    )
}

fn rule(id: &str, effect: &str, lists: &str) -> String {
    format!("{{ id: {id}, effect: {effect}, {lists} }}")
}

const ALLOW_ALL: &str =
    "{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }";
const ANOTHER_PROJECT: &str = "project_header: both
  - { name: media-test, id: 1a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: 'http://127.0.0.1:1', credential: prod }";
