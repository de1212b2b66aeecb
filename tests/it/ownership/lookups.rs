//! Disturbed lookups: a lookup is sent like a call, and the call is made only after everything it waited for
//! was checked again.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::scope,
    time::Duration,
};

use chrono::TimeDelta;
use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{DENIED, OWN, is_still_there, put, seen, with_rules};
use crate::harness::{Held, PROJECT, Proxy, Scripted, Wire, cancel, wait_for};

/// A slow upstream whose job 1 is the caller's own.
fn held() -> Held {
    Held::answering(|head| if head.starts_with("GET ") { found(&own("1")) } else { DONE.into() })
}

fn own(job: &str) -> Value {
    json!({ "job_id": job, "user_data": "editor-api/1", "status": "WAITING" })
}

fn found(job: &Value) -> String {
    answer(&json!({ "total": 1, "jobs": [job] }).to_string())
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn methods(upstream: &Scripted) -> Vec<String> {
    upstream.heads().iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect()
}

/// A cancel whose lookup is in flight.
fn looking(proxy: &Proxy, held: &Held) -> Wire {
    let wire = proxy.sending(cancel("1"));
    held.has(1);
    wire
}

#[test]
fn what_is_announced_is_the_cancel_and_only_when_it_is_allowed() {
    let proxy = with_rules(&[OWN]).section("audit: { write_ahead: true }").start();
    put(&proxy, "1", "editor-api/42");
    put(&proxy, "2", "other/42");
    proxy.expect_records(1);
    assert_eq!(proxy.send(cancel("1")).status, 204);
    assert_eq!(proxy.send(cancel("2")).status, 403);
    let records = proxy.audit(3);
    let [intent, done, denied] = &records[..] else { panic!("{records:#?}") };
    intent.says(json!({
        "event": "intent", "mpc.job_id": "1", "policy.rule": "own", "lookup.status_code": 200,
        "facts": { "mpc:UserData": "editor-api/42" }, "upstream.attempts": 1, "upstream.status_code": null,
    }));
    done.says(json!({ "event": "request", "request.id": intent["request.id"], "outcome": "forwarded" }));
    denied.says(json!({ "event": "request", "outcome": "refused" }));
}

#[test]
fn a_caller_that_hangs_up_meanwhile_has_its_job_cancelled_and_recorded() {
    let held = held();
    let proxy = with_rules(&[OWN]).upstream(&held.url()).start();
    drop(looking(&proxy, &held));
    held.let_go();
    proxy.audit(1)[0].says(json!({ "outcome": "forwarded", "upstream.status_code": 204 }));
    assert_eq!(methods(held.upstream()), ["GET", "DELETE"]);
}

#[test]
fn a_stop_waits_for_a_look_up_and_for_the_cancel_after_it() {
    let held = held();
    let mut proxy = with_rules(&[OWN]).upstream(&held.url()).start();
    let mut wire = looking(&proxy, &held);
    proxy.signal(Signal::SIGTERM);
    wait_for("drain", || (proxy.probe("/readyz").status == 503).then_some(()));
    held.let_go();
    assert_eq!(wire.answer().status, 204);
    assert_eq!(proxy.ended().code(), Some(0));
    assert_eq!(methods(held.upstream()), ["GET", "DELETE"]);
}

#[test]
fn a_stop_that_does_not_wait_any_longer_cancels_nothing() {
    let held = held();
    let section = "drain: { timeout: 100ms }\naudit: { write_ahead: true }";
    let mut proxy = with_rules(&[OWN]).upstream(&held.url()).section(section).start();
    let _wire = looking(&proxy, &held);
    assert_eq!(proxy.stop(), Some(3));
    held.let_go();
    // Of the call nothing was sent.
    proxy.audit(1)[0].says(json!({
        "event": "request", "outcome": "abandoned", "upstream.attempts": 0,
    }));
    assert_eq!(methods(held.upstream()), ["GET"]);
}

#[test]
fn a_freeze_meanwhile_keeps_the_job_from_being_cancelled() {
    let held = held();
    let proxy = with_rules(&[OWN]).upstream(&held.url()).section("freeze_file: freeze").start();
    let mut wire = looking(&proxy, &held);
    proxy.write("freeze", "");
    wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
    held.let_go();
    let answer = wire.answer().refused(503, "PROXY.Frozen");
    proxy.record(&answer).says(json!({ "upstream.attempts": 0, "lookup.status_code": 200 }));
    assert_eq!(methods(held.upstream()), ["GET"]);
}

#[test]
fn a_look_up_shows_the_token_as_a_cancel_does() {
    let upstream = Scripted::start(|_, peer| {
        while let Some(head) = peer.request() {
            peer.write(if head.starts_with("GET ") { found(&own("1")) } else { DONE.into() });
        }
    });
    let setup = with_rules(&[OWN]).upstream(&upstream.url()).file("token", "MIIE");
    let proxy = setup.credential("{ token_file: { path: token } }").start();
    assert_eq!(proxy.send(cancel("1")).status, 204);
    let heads = upstream.saw(2);
    assert!(heads.iter().all(|head| head.contains("x-auth-token: MIIE") && !head.contains("authorization")));
    assert!(
        heads[0].starts_with(&format!("GET /v1/{PROJECT}/editing/jobs?job_id=1 HTTP/1.1\r\n")),
        "{heads:?}"
    );
}

#[test]
fn what_may_not_be_asked_keeps_its_own_code() {
    // Upstream fails until its circuit breaker opens.
    let proxy = with_rules(&[OWN]).section("upstream: { breaker: { failures: 1 } }").start();
    put(&proxy, "1", "editor-api/42");
    proxy.cloud().set_faults([Fault::InternalError.until_cleared()]);
    proxy.send(cancel("1")).is_refusal(503, "PROXY.LookupFailed");
    let answer = proxy.send(cancel("1")).refused(503, "PROXY.CircuitOpen");
    proxy.record(&answer).says(json!({ "error.reason": "circuit_open", "policy.effect": null }));
    assert_eq!(seen(&proxy), (1, 0));
    // No key, or one that upstream rejects.
    let proxy = with_rules(&[OWN]).credential("{ environment: {} }").start();
    proxy.send(cancel("1")).is_refusal(503, "PROXY.NoCredential");
    proxy.upstream_saw(0);
    let proxy = with_rules(&[OWN]).start();
    put(&proxy, "1", "editor-api/42");
    proxy.cloud().set_faults([Fault::Unauthorized.until_cleared()]);
    for _ in 0..3 {
        proxy.send(cancel("1")).is_refusal(503, "PROXY.LookupFailed");
    }
    let answer = proxy.send(cancel("1")).refused(503, "PROXY.NoCredential");
    proxy.record(&answer).says(json!({ "error.reason": "credential_held_back" }));
    assert_eq!(seen(&proxy), (3, 0));
}

#[test]
fn nothing_is_looked_up_that_could_not_be_recorded() {
    let proxy = with_rules(&[OWN]).section("audit: { sink: audit.log }").start().records_elsewhere();
    put(&proxy, "1", "editor-api/42");
    proxy.limit_file_size(0);
    wait_for("refusal", || {
        (proxy.send(crate::blocked::DENIED).json()["error_code"] == "PROXY.AuditBlocked").then_some(())
    });
    proxy.cloud().clear_requests();
    proxy.send(cancel("1")).is_refusal(503, "PROXY.AuditBlocked");
    assert_eq!(seen(&proxy), (0, 0));
}

#[test]
fn a_look_up_and_its_cancel_have_one_deadline() {
    let upstream = Scripted::start(|_, peer| {
        while let Some(head) = peer.request() {
            if head.starts_with("DELETE ") {
                return peer.wait_until_closed();
            }
            std::thread::sleep(Duration::from_secs(4));
            peer.write(found(&own("1")));
        }
    });
    let proxy =
        with_rules(&[OWN]).upstream(&upstream.url()).section("limits: { request_deadline: 6s }").start();
    let answer = proxy.send(cancel("1")).refused(504, "PROXY.UpstreamTimeout");
    let record = proxy.record(&answer);
    record.says(json!({ "outcome": "unknown", "upstream.attempts": 1, "lookup.status_code": 200 }));
    // Not four and then six.
    assert!(record["duration_ms"].as_f64().unwrap() < 8_500.0, "{record:#?}");
}

#[test]
fn an_upstream_that_does_not_answer_a_look_up_has_cancelled_nothing() {
    let proxy = with_rules(&[OWN]).section("upstream: { attempt_timeout: 500ms }").start();
    put(&proxy, "1", "editor-api/42");
    proxy.cloud().set_faults([Fault::Hang.once()]);
    let answer = proxy.send(cancel("1")).refused(503, "PROXY.LookupFailed");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    proxy.record(&answer).says(json!({
        "error.reason": "upstream_timeout", "outcome": "refused", "upstream.attempts": 0,
        "policy.effect": null,
    }));
    is_still_there(&proxy, "1");
    assert_eq!(proxy.send(cancel("1")).status, 204);
}

#[test]
fn a_wrong_clock_is_learned_from_a_look_up() {
    let proxy = with_rules(&[OWN]).start();
    put(&proxy, "1", "editor-api/42");
    proxy.cloud().set_clock_offset(TimeDelta::hours(1));
    let answer = proxy.send(cancel("1"));
    assert_eq!(answer.status, 204, "{answer:?}");
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "lookup.status_code": 200 }));
    // The misdated one and one more; the cancel has the right date at once.
    assert_eq!(seen(&proxy), (2, 1));
}

#[test]
fn a_look_up_is_tried_again_as_a_cancel_is() {
    let count = AtomicUsize::new(0);
    let upstream = Scripted::start(move |_, peer| {
        while let Some(head) = peer.request() {
            match (head.starts_with("GET "), count.fetch_add(1, Relaxed)) {
                (false, _) => peer.write(DONE),
                // A reused connection dies: it was surely stale.
                (true, 2) => return,
                (true, 5) => peer.write("HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
                (true, _) => peer.write(found(&own("1"))),
            };
        }
    });
    let proxy = with_rules(&[OWN]).upstream(&upstream.url()).on_one_core().start();
    for _ in 0..3 {
        let answer = proxy.send(cancel("1"));
        assert_eq!(answer.status, 204, "{answer:?}");
        proxy.record(&answer).says(json!({ "upstream.attempts": 1, "lookup.status_code": 200 }));
    }
    assert_eq!(methods(&upstream), ["GET", "DELETE", "GET", "GET", "DELETE", "GET", "GET", "DELETE"]);
}

#[test]
fn of_many_at_once_each_is_decided_by_its_own_job() {
    let proxy = with_rules(&[OWN]).start();
    // A confirmed key: an unused one is tried by three calls at a time.
    put(&proxy, "first", "editor-api/0");
    assert_eq!(proxy.send(cancel("first")).status, 204);
    let jobs: Vec<String> = (0..48).map(|number| number.to_string()).collect();
    let is_own = |job: &str| !job.ends_with('7') && !job.ends_with('8');
    for job in &jobs {
        put(&proxy, job, if is_own(job) { "editor-api/1" } else { "editor-api2/1" });
    }
    let answers: Vec<_> = scope(|scope| {
        let calls: Vec<_> = jobs.iter().map(|job| (job, scope.spawn(|| proxy.send(cancel(job))))).collect();
        calls.into_iter().map(|(job, call)| (job, call.join().unwrap())).collect()
    });
    for (job, answer) in &answers {
        assert_eq!(answer.status, if is_own(job) { 204 } else { 403 }, "{job}: {answer:?}");
    }
    let requests = proxy.cloud().requests();
    let deleted: BTreeSet<&str> = requests
        .iter()
        .filter(|request| request.method == "DELETE")
        .filter_map(|request| request.target.rsplit(['=', '/']).next())
        .collect();
    assert!(deleted.iter().all(|job| *job == "first" || is_own(job)), "{deleted:?}");
    assert_eq!(deleted.len(), 1 + jobs.iter().filter(|job| is_own(job)).count());
}

#[test]
fn a_token_of_the_project_comes_back_where_nothing_was_cancelled() {
    let proxy = with_rules(&[OWN]).project("rate_limit: 4/h").start();
    put(&proxy, "1", "editor-api/42");
    put(&proxy, "2", "other/42");
    // Of four, three are left, and then two.
    assert_eq!(proxy.send(cancel("2")).status, 403);
    proxy.cloud().set_faults([Fault::InternalError.once()]);
    proxy.send(cancel("1")).is_refusal(503, "PROXY.LookupFailed");
    assert_eq!(proxy.send(cancel("1")).status, 204);
    let answer = proxy.send(cancel("2")).refused(429, "PROXY.RateLimited");
    proxy.record(&answer).says(json!({ "error.reason": "project_limit", "policy.effect": null }));
    assert_eq!(seen(&proxy), (3, 1));
}

#[test]
fn what_an_answer_is_decides_what_is_known() {
    for (bytes, status, reason) in answers() {
        let told: String = bytes.chars().take(200).collect();
        let upstream = Scripted::start(move |_, peer| {
            while let Some(head) = peer.request() {
                peer.write(if head.starts_with("GET ") { &bytes } else { DONE });
            }
        });
        let proxy = with_rules(&[OWN]).upstream(&upstream.url()).start();
        let answer = proxy.send(cancel("1"));
        assert_eq!(answer.status, status, "{answer:?} to {told}");
        let record = proxy.record(&answer);
        assert_eq!(
            record.fields().find(|name| *name == "error.reason").map(|name| record.text(name)),
            reason
        );
        match status {
            403 => assert_eq!(answer.error_msg(), DENIED),
            503 => answer.is_refusal(503, "PROXY.LookupFailed"),
            _ => {}
        }
        assert_eq!(methods(&upstream).contains(&"DELETE".to_owned()), status == 204, "{told}");
    }
}

/// The answer of the cloud, the answer to the caller, and the reason.
fn answers() -> Vec<(String, u16, Option<&'static str>)> {
    let own_word = |text: Value| {
        let mut job = own("1");
        job["user_data"] = text;
        found(&job)
    };
    let lacking = {
        let mut job = own("1");
        job.as_object_mut().unwrap().remove("user_data");
        found(&job)
    };
    let huge =
        found(&json!({ "job_id": "1", "user_data": "editor-api/1", "description": "x".repeat(2 << 20) }));
    let large =
        found(&json!({ "job_id": "1", "user_data": "editor-api/1", "description": "x".repeat(1 << 20) }));
    let not_found = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned();
    let no_such = "{\"error_code\":\"MPC.10211\",\"error_msg\":\"no\"}";
    let no_such = format!("HTTP/1.1 404 No\r\nContent-Length: {}\r\n\r\n{no_such}", no_such.len());
    let twice =
        answer("{\"total\":1,\"jobs\":[],\"jobs\":[{\"job_id\":\"1\",\"user_data\":\"editor-api/1\"}]}");
    let two_words = answer(
        "{\"total\":1,\"jobs\":[{\"job_id\":\"1\",\"user_data\":\"o\",\"user_data\":\"editor-api/1\"}]}",
    );
    vec![
        (own_word(json!("editor-api/1")), 204, None),
        (large, 204, None),
        (own_word(json!("editor-api/")), 204, None),
        (lacking, 403, Some("no_rule")),
        (own_word(Value::Null), 403, Some("no_rule")),
        (own_word(json!("")), 403, Some("no_rule")),
        (own_word(json!("editor-api")), 403, Some("no_rule")),
        (answer("{\"total\":0,\"jobs\":[]}"), 403, Some("no_such_job")),
        (no_such, 403, Some("no_such_job")),
        (own_word(json!(["editor-api/1"])), 503, Some("lookup_malformed")),
        (twice, 503, Some("lookup_malformed")),
        (two_words, 503, Some("lookup_malformed")),
        (answer("{\"total\":1,\"jobs\":[]}"), 503, Some("lookup_malformed")),
        (answer("{}"), 503, Some("lookup_malformed")),
        (answer(""), 503, Some("lookup_malformed")),
        (not_found, 503, Some("lookup_status")),
        (huge, 503, Some("answer_too_large")),
    ]
}

#[test]
fn a_credential_in_what_is_looked_up_is_not_recorded() {
    for secret in ["MIIEsecret", "\\u004dIIEsecret", "MIIEs\\u0065cret"] {
        let body =
            format!("{{\"total\":1,\"jobs\":[{{\"job_id\":\"1\",\"user_data\":\"editor-api/{secret}\"}}]}}");
        let upstream = Scripted::answering(answer(&body));
        let setup = with_rules(&[OWN]).upstream(&upstream.url()).file("token", "MIIEsecret");
        let proxy = setup.credential("{ token_file: { path: token } }").start();
        let answer = proxy.send(cancel("1")).refused(503, "PROXY.LookupFailed");
        proxy.record(&answer).says(json!({ "error.reason": "lookup_malformed" }));
        assert!(!proxy.printed().contains("secret"), "{}", proxy.printed());
    }
}

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
