//! Views filtered by ownership: a caller sees its own jobs only, and not even that others exist.

use std::{collections::BTreeSet, thread::scope};

use chrono::TimeDelta;
use mpc_auth_proxy::testserver::{Difference, Fault, JobState};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{ALL, OWN, WAITING, policy, put, seen, with_rules};
use crate::harness::{Answer, Held, PROJECT, Proxy, Wire, request, wait_for};

fn view(target: &str) -> String {
    request("GET", target, &[])
}

fn ids(version: u8, jobs: &[&str]) -> String {
    let query: Vec<String> = jobs.iter().map(|job| format!("job_id={job}")).collect();
    view(&format!("/v{version}/media-prod/editing/jobs?{}", query.join("&")))
}

/// The ids of the jobs shown.
fn shown(answer: &Answer) -> BTreeSet<String> {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
    let json = answer.json();
    let jobs = json.get("jobs").or(json.get("job_array")).unwrap().as_array().unwrap();
    jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
}

fn these(jobs: &[&str]) -> BTreeSet<String> {
    jobs.iter().map(|job| (*job).to_owned()).collect()
}

/// Some jobs of its own and some of others.
fn with_jobs(proxy: &Proxy) {
    for (job, owner) in
        [("1", "editor-api/1"), ("2", "editor-api-2/2"), ("3", "editor-api/3"), ("4", "packager/secret-4")]
    {
        put(proxy, job, owner);
    }
}

#[test]
fn of_the_jobs_that_are_asked_for_its_own_are_shown_and_nothing_of_the_others() {
    for version in [1, 2] {
        let proxy = with_rules(&[OWN]).start();
        with_jobs(&proxy);
        let answer = proxy.send(ids(version, &["4", "3", "none", "1"]));
        assert_eq!(shown(&answer), these(&["1", "3"]));
        assert!(!answer.body.contains("secret"), "{}", answer.body);
        if version == 1 {
            assert_eq!(answer.json()["total"], 2);
            assert!(answer.json()["jobs"][0]["edit_task_req"].is_object(), "all that the cloud says of it");
        }
        proxy.record(&answer).says(json!({
            "mpc.action": "mpc:editingTask:view", "mpc.job_id": null, "mpc.job_ids": ["1", "3", "4", "none"],
            "view.hidden": 1, "policy.effect": "allow", "policy.rule": "own", "outcome": "forwarded",
            "upstream.attempts": 1, "upstream.status_code": 200,
        }));
        let request = proxy.upstream_saw_one();
        let target = format!("/v{version}/{PROJECT}/editing/jobs?job_id=1&job_id=3&job_id=4&job_id=none");
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", &*target));
    }
}

#[test]
fn a_job_of_anothers_looks_like_one_that_is_not_there() {
    for difference in [None, Some(Difference::AbsentIsAnError)] {
        for version in [1, 2] {
            let proxy = with_rules(&[OWN]).start();
            with_jobs(&proxy);
            proxy.cloud().set_differences(difference.clone());
            let [others, absent, own] = ["4", "none", "1"].map(|job| proxy.send(ids(version, &[job])));
            assert_eq!(others.body, absent.body);
            let names = |answer: &Answer| {
                answer.headers.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
            };
            assert_eq!((others.status, names(&others)), (absent.status, names(&absent)));
            assert_eq!((shown(&others), shown(&own)), (these(&[]), these(&["1"])));
            let facts = json!({ "mpc:UserData": "packager/secret-4" });
            proxy.record(&others).says(json!({
                "policy.effect": "deny", "policy.rule": null, "view.hidden": 1, "mpc.job_id": "4",
                "facts": facts, "outcome": "forwarded",
            }));
            proxy.record(&absent).says(json!({ "policy.effect": "deny", "view.hidden": 0 }));
            let facts = json!({ "mpc:UserData": "editor-api/1" });
            proxy.record(&own).says(json!({
                "policy.effect": "allow", "policy.rule": "own", "view.hidden": 0, "facts": facts,
            }));
        }
    }
}

#[test]
fn a_list_shows_its_own_jobs_page_by_page() {
    let proxy = with_rules(&[OWN]).start();
    with_jobs(&proxy);
    let list = |query: &str| proxy.send(view(&format!("/v1/media-prod/editing/jobs{query}")));
    let answer = list("");
    assert_eq!(shown(&answer), these(&["1", "3"]));
    // The cloud's own count, used for paging.
    assert_eq!(answer.json()["total"], 5);
    proxy.record(&answer).says(json!({
        "mpc.job_id": null, "mpc.job_ids": ["1", "3"], "view.hidden": 3, "policy.effect": "allow",
    }));
    for (query, expected) in [
        ("?page=1&size=2", these(&["3"])),
        ("?page=0&size=2", these(&["1"])),
        ("?status=WAITING", these(&["1", "3"])),
        ("?status=FAILED", these(&[])),
        ("?start_time=20200101000000&end_time=20200101000001", these(&[])),
    ] {
        assert_eq!(shown(&list(query)), expected, "{query}");
    }
    for query in
        ["?page=50001", "?size=0", "?status=SUCCEEDED", "?job_id=1&page=1", "?page=1&page=2", "?x=1", "?"]
    {
        list(query).is_refusal(400, "PROXY.BadRequest");
    }
    // Version 2 has no lists.
    proxy.send(view("/v2/media-prod/editing/jobs")).is_refusal(400, "PROXY.BadRequest");
    assert_eq!(seen(&proxy), (6, 0));
}

#[test]
fn what_no_rule_could_show_is_not_asked_for() {
    let cancels = OWN.replace("actions: ['*']", "actions: ['mpc:editingTask:delete']");
    let some = ALL.replace("jobs: ['*']", "jobs: ['9*']");
    let proxy = with_rules(&[&cancels, &some]).start();
    proxy.send(ids(1, &["9", "1"])).is_refusal(403, "PROXY.Forbidden");
    proxy.upstream_saw(0);
    assert_eq!(proxy.send(ids(1, &["9"])).status, 200);
    let proxy = with_rules(&[&cancels]).start();
    let answer = proxy.send(view("/v1/media-prod/editing/jobs")).refused(403, "PROXY.Forbidden");
    proxy.record(&answer).says(json!({ "policy.effect": "deny", "error.reason": "no_rule" }));
    proxy.upstream_saw(0);
}

#[test]
fn who_may_see_everything_sees_it_and_no_more_than_jobs() {
    let proxy = with_rules(&[ALL]).start();
    with_jobs(&proxy);
    assert_eq!(shown(&proxy.send(ids(2, &["1", "4"]))), these(&["1", "4"]));
    let deny = WAITING.replace("allow", "deny");
    let proxy = with_rules(&[ALL, &deny]).start();
    with_jobs(&proxy);
    proxy.cloud().put_job(PROJECT, "4", JobState::Processing);
    assert_eq!(shown(&proxy.send(ids(1, &["1", "4"]))), these(&["4"]));
}

#[test]
fn views_are_not_frozen_and_not_announced() {
    let section = "freeze_file: freeze\naudit: { write_ahead: true }";
    let proxy = with_rules(&[OWN]).section(section).start();
    with_jobs(&proxy);
    proxy.write("freeze", "");
    wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
    assert_eq!(shown(&proxy.send(ids(1, &["1"]))), these(&["1"]));
    assert!(proxy.records().iter().all(|record| record["event"] == "request"));
}

#[test]
fn what_version_2_does_not_tell_is_looked_up_by_version_1() {
    let input = OWN.replace(
        "StringMatch: { 'mpc:UserData': ['${proxy:Caller}/*'] }",
        "'ForAllValues:StringMatch': { 'mpc:Input': ['in/*'] }",
    );
    let proxy = with_rules(&[&input]).project("rate_limit: 5/h").start();
    with_jobs(&proxy);
    let elsewhere =
        json!({ "edit_type": ["CLIP"], "clips": [{ "input": { "bucket": "x", "object": "a" } }] });
    proxy.cloud().put_job(PROJECT, "5", JobState::Waiting);
    proxy.cloud().set_job_request(PROJECT, "5", elsewhere);
    let answer = proxy.send(ids(2, &["1", "5"]));
    assert_eq!(shown(&answer), these(&["1"]));
    proxy
        .record(&answer)
        .says(json!({ "view.hidden": 1, "lookup.status_code": 200, "upstream.attempts": 1 }));
    let targets: Vec<String> = proxy.upstream_saw(2).into_iter().map(|seen| seen.target).collect();
    assert!(targets[0].starts_with("/v1/") && targets[1].starts_with("/v2/"), "{targets:?}");
    // Version 1 tells it itself. Of five calls an hour four may look.
    assert_eq!(shown(&proxy.send(ids(1, &["1", "5"]))), these(&["1"]));
    assert_eq!(shown(&proxy.send(ids(1, &["5"]))), these(&[]));
    let answer = proxy.send(ids(1, &["1"])).refused(429, "PROXY.RateLimited");
    proxy.record(&answer).says(json!({ "error.reason": "project_limit" }));
    proxy.upstream_saw(4);
}

#[test]
fn what_is_not_known_of_a_job_shows_nothing_of_it() {
    let odd = Difference::Word { version: 1, word: "PROCESSING".into(), is: "PAUSED".into() };
    let proxy = with_rules(&[WAITING]).start();
    with_jobs(&proxy);
    proxy.cloud().put_job(PROJECT, "4", JobState::Processing);
    proxy.cloud().set_differences([odd]);
    let answer = proxy.send(ids(1, &["1", "4"])).refused(503, "PROXY.LookupFailed");
    proxy.record(&answer).says(json!({ "error.reason": "fact_unknown_word" }));
    // A job that cannot be parsed does not fail the list.
    let answer = proxy.send(view("/v1/media-prod/editing/jobs"));
    assert_eq!(shown(&answer), these(&["1", "100211", "2", "3"]));
    proxy.record(&answer).says(json!({ "view.hidden": 1 }));
}

#[test]
fn a_view_is_decided_by_the_policy_that_is_in_force_when_its_answer_is_here() {
    let body = json!({ "total": 1, "jobs": [{ "job_id": "1", "user_data": "other/1" }] }).to_string();
    let held =
        Held::answering(move |_| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let proxy = with_rules(&[OWN]).upstream(&held.url()).start();
    let before = proxy.probe("/status").json()["policy"]["hash"].clone();
    let mut wire = proxy.sending(ids(1, &["1"]));
    held.has(1);
    proxy.write("policy.yaml", &policy(&[ALL]));
    let hash: Value = wait_for("another policy", || {
        Some(proxy.probe("/status").json()["policy"]["hash"].clone()).filter(|hash| *hash != before)
    });
    held.let_go();
    let answer = wire.answer();
    assert_eq!(shown(&answer), these(&["1"]));
    proxy.record(&answer).says(json!({ "policy.rule": "all", "policy.hash": hash }));
}

#[test]
fn a_view_is_tried_again_as_a_cancel_is() {
    let proxy = with_rules(&[OWN]).start();
    with_jobs(&proxy);
    proxy.cloud().set_faults([Fault::Throttled { retry_after_s: 1 }.once()]);
    let answer = proxy.send(ids(1, &["1"]));
    assert_eq!(shown(&answer), these(&["1"]));
    proxy.record(&answer).says(json!({ "upstream.attempts": 2 }));
    // An unrelated error is passed on unchanged.
    proxy.cloud().set_faults([Fault::InternalError.once()]);
    let answer = proxy.send(ids(1, &["1"]));
    assert_eq!(
        (answer.status, answer.json()["error_code"].as_str().unwrap().starts_with("MPC.")),
        (500, true)
    );
    proxy.record(&answer).says(json!({ "outcome": "forwarded", "upstream.attempts": 1 }));
}

#[test]
fn of_many_at_once_each_sees_its_own() {
    let proxy = with_rules(&[OWN]).section("limits: { buffer_bytes: 64MiB }").start();
    with_jobs(&proxy);
    assert_eq!(proxy.send(ids(1, &["1"])).status, 200);
    scope(|scope| {
        for caller in 0..24 {
            let proxy = &proxy;
            scope.spawn(move || {
                let answer = match caller % 3 {
                    0 => proxy.send(ids(1, &["1", "2", "3", "4"])),
                    1 => proxy.send(ids(2, &["1", "2", "3", "4"])),
                    _ => proxy.send(view("/v1/media-prod/editing/jobs?size=100")),
                };
                assert_eq!(shown(&answer), these(&["1", "3"]));
            });
        }
    });
}

/// A view that upstream holds.
fn under_way(section: &str) -> (Held, Proxy, Wire) {
    let body = json!({ "total": 2, "jobs": [
        { "job_id": "1", "user_data": "editor-api/1", "status": "WAITING" },
        { "job_id": "4", "user_data": "packager/secret-4", "status": "WAITING" },
    ] })
    .to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let held = Held::answering(move |_| answer.clone());
    let proxy = with_rules(&[OWN]).upstream(&held.url()).section(section).start();
    let wire = proxy.sending(ids(1, &["1", "4"]));
    held.has(1);
    (held, proxy, wire)
}

#[test]
fn a_view_whose_caller_hangs_up_is_recorded_with_what_was_shown_and_hidden() {
    let (held, proxy, wire) = under_way("");
    drop(wire);
    held.let_go();
    proxy.audit(1)[0].says(json!({
        "outcome": "forwarded", "upstream.status_code": 200, "mpc.job_ids": ["1", "4"], "view.hidden": 1,
    }));
}

#[test]
fn a_stop_waits_for_a_view_and_what_is_hidden_stays_so() {
    let (held, mut proxy, mut wire) = under_way("");
    proxy.signal(Signal::SIGTERM);
    wait_for("drain", || (proxy.probe("/readyz").status == 503).then_some(()));
    held.let_go();
    let answer = wire.answer();
    assert!(shown(&answer) == these(&["1"]) && !answer.body.contains("secret"), "{answer:?}");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_view_that_a_stop_cuts_shows_nothing_and_has_its_record() {
    let (held, mut proxy, wire) = under_way("drain: { timeout: 100ms }");
    assert_eq!(proxy.stop(), Some(3));
    held.let_go();
    wire.closed();
    proxy.audit(1)[0].says(json!({ "mpc.action": "mpc:editingTask:view", "upstream.status_code": null }));
}

#[test]
fn nothing_is_viewed_that_could_not_be_recorded_and_what_is_under_way_is_answered() {
    let (held, proxy, mut wire) = under_way("audit: { sink: audit.log }");
    let proxy = proxy.records_elsewhere();
    proxy.limit_file_size(0);
    wait_for("refusal", || {
        (proxy.send(crate::blocked::DENIED).json()["error_code"] == "PROXY.AuditBlocked").then_some(())
    });
    proxy.send(ids(1, &["1"])).is_refusal(503, "PROXY.AuditBlocked");
    held.let_go();
    assert_eq!(shown(&wire.answer()), these(&["1"]));
    assert_eq!(held.upstream().heads().len(), 1, "the other one was not sent");
}

#[test]
fn a_wrong_clock_is_learned_from_a_view() {
    let proxy = with_rules(&[OWN]).start();
    with_jobs(&proxy);
    proxy.cloud().set_clock_offset(TimeDelta::hours(1));
    let answer = proxy.send(ids(1, &["1", "4"]));
    assert_eq!(shown(&answer), these(&["1"]));
    proxy
        .record(&answer)
        .says(json!({ "upstream.attempts": 2, "upstream.status_code": 200, "view.hidden": 1 }));
}
