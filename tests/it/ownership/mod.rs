//! Job ownership: the facts a rule needs of a job are looked up before it is cancelled, and only then.

mod answers;
mod lookups;
mod trials;
mod views;

use mpc_auth_proxy::testserver::{Difference, Fault, JobState};
use serde_json::{Value, json};

use crate::harness::{Answer, PROJECT, Proxy, Scripted, Setup, cancel, wait_for};

/// A policy to cancel one's own jobs: `user_data` begins with the caller's name.
const OWN: &str = "{ id: own, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'], \
    condition: { StringMatch: { 'mpc:UserData': ['${proxy:Caller}/*'] } } }";
/// The same for waiting jobs, by another fact.
const WAITING: &str = "{ id: waiting, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'], \
    condition: { StringEquals: { 'mpc:JobStatus': WAITING } } }";
const ALL: &str = "{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }";
/// The text of every denial after a lookup.
const DENIED: &str = "denied by policy, or no such job";

fn policy(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!("version: 1\ncallers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}\nrules:\n{rules}")
}

fn with_rules(rules: &[&str]) -> Setup {
    Setup::new().policy(&policy(rules))
}

fn put(proxy: &Proxy, job: &str, user_data: &str) {
    let request = json!({
        "edit_type": ["CLIP"], "user_data": user_data,
        "clips": [{ "input": { "bucket": "in", "location": "l", "object": "a.mp4" } }],
        "output_setting": { "output": { "bucket": "out", "location": "l", "object": "o" } },
    });
    proxy.cloud().put_job(PROJECT, job, JobState::Waiting);
    proxy.cloud().set_job_request(PROJECT, job, request);
}

/// The number of upstream requests by method.
fn seen(proxy: &Proxy) -> (usize, usize) {
    let requests = proxy.cloud().requests();
    let count = |method: &str| requests.iter().filter(|seen| seen.method == method).count();
    (count("GET"), count("DELETE"))
}

fn is_still_there(proxy: &Proxy, job: &str) {
    assert_eq!(proxy.cloud().job_state(PROJECT, job), Some(JobState::Waiting));
    assert_eq!(seen(proxy).1, 0, "nothing may be cancelled");
}

fn lookup_failed(proxy: &Proxy, answer: &Answer, reason: &str) {
    answer.is_refusal(503, "PROXY.LookupFailed");
    proxy.record(answer).says(json!({
        "error.reason": reason, "outcome": "refused", "policy.effect": null, "upstream.attempts": 0,
    }));
    is_still_there(proxy, "1");
}

#[test]
fn a_caller_cancels_its_own_job_and_nobody_elses() {
    for form in ["v1", "v2"] {
        let proxy = with_rules(&[OWN]).project(&format!("lookup_form: {form}")).start();
        put(&proxy, "1", "editor-api/42");
        put(&proxy, "2", "editor-api-2/42");
        let own = proxy.send(cancel("1"));
        assert_eq!(own.status, 204, "{own:?}");
        let record = proxy.record(&own);
        record.says(json!({
            "policy.effect": "allow", "policy.rule": "own", "upstream.attempts": 1, "upstream.status_code": 204,
            "lookup.status_code": 200, "facts": { "mpc:UserData": "editor-api/42" }, "outcome": "forwarded",
        }));
        assert_eq!((seen(&proxy), proxy.cloud().job_state(PROJECT, "1")), ((1, 1), None));
        proxy.cloud().clear_requests();
        let other = proxy.send(cancel("2")).refused(403, "PROXY.Forbidden");
        assert_eq!(other.error_msg(), DENIED);
        proxy.record(&other).says(json!({
            "policy.effect": "deny", "policy.rule": null, "error.reason": "no_rule", "upstream.attempts": 0,
            "upstream.status_code": null, "lookup.status_code": 200,
            "facts": { "mpc:UserData": "editor-api-2/42" }, "outcome": "refused",
        }));
        assert_eq!(seen(&proxy), (1, 0));
        assert_eq!(proxy.cloud().job_state(PROJECT, "2"), Some(JobState::Waiting));
        let metrics = proxy.probe("/metrics").body;
        assert!(metrics.contains("mpc_auth_proxy_lookups_total{outcome=\"facts\"} 2"), "{metrics}");
    }
}

#[test]
fn a_job_that_is_not_there_is_denied_in_the_same_words() {
    for differences in [vec![], vec![Difference::AbsentIsAnError]] {
        let proxy = with_rules(&[OWN]).start();
        proxy.cloud().set_differences(differences);
        let answer = proxy.send(cancel("7")).refused(403, "PROXY.Forbidden");
        assert_eq!(answer.error_msg(), DENIED);
        proxy.record(&answer).says(json!({ "policy.effect": "deny", "error.reason": "no_such_job" }));
        assert_eq!(seen(&proxy), (1, 0));
    }
}

#[test]
fn a_denial_by_a_fact_names_no_rule() {
    let deny = WAITING.replace("allow", "deny");
    let proxy = with_rules(&[ALL, &deny]).start();
    put(&proxy, "1", "x");
    let answer = proxy.send(cancel("1")).refused(403, "PROXY.Forbidden");
    assert_eq!(answer.error_msg(), DENIED);
    proxy.record(&answer).says(json!({
        "policy.rule": "waiting", "error.reason": "denied_by_rule", "facts": { "mpc:JobStatus": "WAITING" },
    }));
    is_still_there(&proxy, "1");
}

#[test]
fn what_upstream_does_not_tell_is_unknown_and_nothing_is_cancelled() {
    for (fault, reason) in [
        (Fault::InternalError, "lookup_status"),
        (Fault::Garbage, "lookup_malformed"),
        (Fault::LoseAnswer, "upstream_closed"),
    ] {
        let proxy = with_rules(&[OWN]).start();
        put(&proxy, "1", "editor-api/42");
        proxy.cloud().set_faults([fault.until_cleared()]);
        lookup_failed(&proxy, &proxy.send(cancel("1")), reason);
    }
    let renamed = Difference::Lacks { version: 1, member: "status".into() };
    let odd = Difference::Word { version: 1, word: "WAITING".into(), is: "QUEUED".into() };
    for (difference, reason) in [(renamed, "fact_not_in_answer"), (odd, "fact_unknown_word")] {
        let proxy = with_rules(&[WAITING]).start();
        put(&proxy, "1", "editor-api/42");
        proxy.cloud().set_differences([difference]);
        lookup_failed(&proxy, &proxy.send(cancel("1")), reason);
    }
}

#[test]
fn an_answer_about_another_job_or_twice_about_one_is_not_believed() {
    let job = |id: &str| json!({ "job_id": id, "user_data": "editor-api/1", "status": "WAITING" });
    for (jobs, reason) in [
        (json!([job("2")]), "lookup_foreign_job"),
        (json!([job("1"), job("2")]), "lookup_foreign_job"),
        (json!([job("1"), job("1")]), "lookup_doubled_job"),
    ] {
        let body = json!({ "total": jobs.as_array().map_or(0, Vec::len), "jobs": jobs }).to_string();
        let upstream = Scripted::start(move |_, peer| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            while peer.request().is_some() && peer.write(&head) {}
        });
        let proxy = with_rules(&[OWN]).upstream(&upstream.url()).start();
        let answer = proxy.send(cancel("1")).refused(503, "PROXY.LookupFailed");
        proxy.record(&answer).says(json!({ "error.reason": reason }));
        assert!(upstream.heads().iter().all(|head| head.starts_with("GET ")));
    }
}

#[test]
fn nothing_is_looked_up_that_changes_no_decision() {
    // Allowed or denied whatever the job.
    let other = OWN.replace("callers: ['*']", "callers: [editor-api]").replace("jobs: ['*']", "jobs: ['9*']");
    for (rules, status) in [(vec![ALL, OWN], 204), (vec![&*other], 403)] {
        let proxy = with_rules(&rules).start();
        put(&proxy, "1", "x");
        let answer = proxy.send(cancel("1"));
        assert_eq!((answer.status, seen(&proxy).0), (status, 0));
        let record = proxy.record(&answer);
        record.says(json!({ "policy.effect": if status == 204 { "allow" } else { "deny" } }));
    }
}

#[test]
fn nothing_is_looked_up_for_what_is_frozen() {
    let proxy = with_rules(&[OWN]).section("freeze_file: freeze").start();
    put(&proxy, "1", "editor-api/42");
    proxy.write("freeze", "");
    wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
    proxy.send(cancel("1")).is_refusal(503, "PROXY.Frozen");
    assert_eq!(seen(&proxy), (0, 0));
}

#[test]
fn a_job_is_judged_by_the_policy_that_is_in_force_when_it_was_looked_up() {
    let deny = ALL.replace("allow", "deny").replace("id: all", "id: later");
    for (rules, status, rule) in [(ALL, 204, "all"), (deny.as_str(), 403, "later")] {
        let proxy = with_rules(&[OWN]).start();
        put(&proxy, "1", "editor-api-2/42");
        proxy.cloud().set_faults([Fault::LatencyMs(4000).once()]);
        let before = proxy.probe("/status").json()["policy"]["hash"].clone();
        let mut wire = proxy.sending(cancel("1"));
        wait_for("a lookup", || (seen(&proxy).0 == 1).then_some(()));
        proxy.write("policy.yaml", &policy(&[rules]));
        let hash: Value = wait_for("another policy", || {
            Some(proxy.probe("/status").json()["policy"]["hash"].clone()).filter(|hash| *hash != before)
        });
        let answer = wire.answer();
        assert_eq!((answer.status, seen(&proxy).1), (status, usize::from(status == 204)), "{answer:?}");
        proxy.record(&answer).says(json!({ "policy.rule": rule, "policy.hash": hash }));
    }
}

#[test]
fn the_eleventh_denied_look_up_in_a_minute_is_not_made() {
    let proxy = with_rules(&[OWN]).start();
    for job in 1..=10 {
        proxy.send(cancel(&job.to_string())).is_refusal(403, "PROXY.Forbidden");
    }
    let answer = proxy.send(cancel("11")).refused(429, "PROXY.RateLimited");
    proxy.record(&answer).says(json!({ "error.reason": "denied_lookups" }));
    assert_eq!(seen(&proxy), (10, 0));
}

#[test]
fn facts_are_recorded_by_name_alone_where_that_is_wanted() {
    let proxy = with_rules(&[OWN]).section("audit: { facts: names }").start();
    put(&proxy, "1", "editor-api/42");
    let answer = proxy.send(cancel("1")).with_status(204);
    proxy.record(&answer).says(json!({ "facts": ["mpc:UserData"] }));
}
