//! A create is sent once: it is retried only if it was certainly not executed, and if nobody knows, the caller is told so.

use std::thread;

use chrono::TimeDelta;
use mpc_auth_proxy::{secret::Secret, testserver::Fault};
use serde_json::{Value, json};

use super::{ALL, body, create, creates, made, with_rules};
use crate::harness::{Proxy, Scripted, Setup, cancel, request, wait_for};

fn start() -> Proxy {
    with_rules(&[ALL]).start()
}

/// The number of jobs besides the one that always exists.
fn jobs(proxy: &Proxy) -> u64 {
    let list = proxy.send(request("GET", "/v1/media-prod/editing/jobs", &[]));
    list.json()["total"].as_u64().unwrap() - 1
}

#[test]
fn a_create_of_which_nobody_can_say_whether_it_was_carried_out_is_not_sent_again() {
    for (fault, status, reason, outcome, made) in [
        (Fault::Reset, 502, Some("upstream_closed"), "unknown", 0),
        (Fault::LoseAnswer, 502, Some("upstream_closed"), "unknown", 1),
        (Fault::Hang, 504, Some("upstream_timeout"), "unknown", 0),
        (Fault::Garbage, 200, None, "forwarded", 0),
        (Fault::Unavailable, 503, None, "forwarded", 0),
        (Fault::InternalError, 500, None, "forwarded", 0),
    ] {
        let proxy = with_rules(&[ALL]).section("upstream: { attempt_timeout: 300ms }").start();
        proxy.queue("1");
        // A pooled connection exists.
        assert_eq!(proxy.send(cancel("1")).status, 204);
        proxy.cloud().set_faults([fault.once()]);
        let answer = proxy.send(create(&body("x", "1")));
        assert_eq!(answer.status, status, "{fault:?}: {answer:#?}");
        let record = proxy.record(&answer);
        record.says(
            json!({ "outcome": outcome, "upstream.attempts": 1, "mpc.job_id": null, "mpc.user_data": "1" }),
        );
        if let Some(reason) = reason {
            record.says(json!({ "error.reason": reason }));
            assert!(answer.error_msg().contains("the outcome is unknown"), "{}", answer.error_msg());
        }
        assert_eq!((creates(&proxy).len(), jobs(&proxy)), (1, made), "{fault:?}");
    }
}

#[test]
fn a_create_that_the_gateway_did_not_pass_on_is_sent_again() {
    let proxy = start();
    proxy.cloud().set_faults([Fault::Throttled { retry_after_s: 1 }.once()]);
    let answer = proxy.send(create(&body("x", "1")));
    let job = made(&answer);
    proxy.record(&answer).says(json!({ "upstream.attempts": 2, "mpc.job_id": job, "outcome": "forwarded" }));
    assert_eq!(jobs(&proxy), 1);
    // A clock that is an hour off is detected, and the call gets a new date.
    let proxy = start();
    proxy.cloud().set_clock_offset(TimeDelta::hours(1));
    let answer = proxy.send(create(&body("x", "1")));
    made(&answer);
    proxy.record(&answer).says(json!({ "upstream.attempts": 2 }));
    assert_eq!((creates(&proxy).len(), jobs(&proxy)), (2, 1));
}

#[test]
fn who_asks_for_patience_is_asked_again_only_where_it_passed_nothing_on() {
    for (status, code, sent) in [
        (429, "APIGW.0308", 2),
        (429, "MPC.10230", 1),
        (429, "APIGW.0309", 1),
        (503, "APIGW.0613", 1),
        (503, "MPC.10201", 1),
    ] {
        let body_of_it = format!("{{\"error_code\":\"{code}\"}}");
        let length = body_of_it.len();
        let text =
            format!("HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: {length}\r\n\r\n{body_of_it}");
        let upstream = Scripted::start(move |_, peer| {
            peer.request();
            peer.write(&text);
            peer.wait_until_closed();
        });
        let proxy = with_rules(&[ALL]).upstream(&upstream.url()).start();
        let answer = proxy.send(create("{}"));
        assert_eq!(answer.status, status, "{answer:#?}");
        proxy.record(&answer).says(json!({ "upstream.attempts": sent, "outcome": "forwarded" }));
        upstream.saw(sent);
    }
}

#[test]
fn a_create_goes_by_a_connection_of_its_own_and_leaves_it_to_others() {
    let proxy = with_rules(&[ALL]).on_one_core().start();
    proxy.queue("1");
    proxy.queue("2");
    assert_eq!(proxy.send(cancel("1")).status, 204);
    made(&proxy.send(create(&body("x", "1"))));
    made(&proxy.send(create(&body("x", "2"))));
    assert_eq!(proxy.send(cancel("2")).status, 204);
    let ports: Vec<u16> = proxy.upstream_saw(4).iter().map(|seen| seen.peer_port).collect();
    assert!(ports[1] != ports[0] && ports[2] != ports[0] && ports[2] != ports[1], "{ports:?}");
    assert!(ports[..3].contains(&ports[3]), "{ports:?}");
}

/// Closed while idle by an upstream that does not announce it: what is written there may be lost.
#[test]
fn a_connection_that_may_be_stale_is_no_way_for_a_create() {
    let upstream = Scripted::start(|number, peer| {
        let Some(head) = peer.request() else { return };
        if number == 0 {
            assert!(head.starts_with("DELETE "), "{head}");
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
            // Whatever comes next is read and gets no answer.
            peer.request();
        } else {
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"job_id\":\"7\"}");
        }
    });
    let proxy = with_rules(&[ALL]).upstream(&upstream.url()).on_one_core().start();
    assert_eq!(proxy.send(cancel("1")).status, 204);
    let answer = proxy.send(create(&body("x", "1")));
    assert_eq!(made(&answer), "7");
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "mpc.job_id": "7" }));
    upstream.saw(2);
}

#[test]
fn many_at_once_are_as_many_jobs() {
    let proxy =
        with_rules(&[ALL]).file("token", "MIIE").credential("{ token_file: { path: token } }").start();
    proxy.cloud().accept_token(Secret::new("MIIE"), crate::harness::PROJECT);
    let (mut ids, answers): (Vec<String>, Vec<_>) = thread::scope(|scope| {
        let one = |number: usize| {
            let answer = proxy.send(create(&body("x", &number.to_string())));
            (made(&answer), answer)
        };
        let callers: Vec<_> = (0..48).map(|number| scope.spawn(move || one(number))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).unzip()
    });
    for answer in &answers {
        proxy.record(answer).says(json!({ "upstream.attempts": 1, "outcome": "forwarded" }));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut words: Vec<usize> = creates(&proxy)
        .iter()
        .map(|seen| super::sent(seen)["user_data"].as_str().unwrap().parse().unwrap())
        .collect();
    words.sort_unstable();
    assert_eq!((ids.len(), words), (48, (0..48).collect()));
}

#[test]
fn an_intent_says_what_is_to_be_created() {
    let proxy = with_rules(&[ALL])
        .section("audit: { sink: audit.log, write_ahead: true }")
        .start()
        .records_elsewhere();
    let answer = proxy.send(create(&body("x", "x/1")));
    let job = made(&answer);
    let lines = wait_for("both lines", || {
        let text = std::fs::read_to_string(proxy.path("audit.log")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == 2).then_some(lines)
    });
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("intent"), &json!("request")));
    for line in &lines {
        assert_eq!(line["mpc.user_data"], "x/1");
        assert_eq!(line["facts"]["mpc:InputBucket"], Value::Null);
        assert_eq!(line["facts"]["mpc:Input"], json!(["media-in/raw/课 1.mp4"]));
    }
    assert_eq!((&lines[0]["mpc.job_id"], &lines[1]["mpc.job_id"]), (&Value::Null, &json!(job)));
}

#[test]
fn nothing_is_sent_by_an_open_circuit_or_a_key_that_is_held_back() {
    let upstream = Scripted::start(|_, peer| {
        while peer.request().is_some() && peer.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") {}
    });
    let proxy = with_rules(&[ALL])
        .upstream(&upstream.url())
        .section("upstream: { breaker: { open_for: 1h } }")
        .start();
    for _ in 0..5 {
        proxy.send(create("{}"));
    }
    let answer = proxy.send(create("{}")).refused(503, "PROXY.CircuitOpen");
    proxy.record(&answer).says(json!({ "upstream.attempts": 0, "outcome": "refused" }));
    let proxy = Setup::new().file("sk", "another-secret-key").start();
    for _ in 0..3 {
        assert_eq!(proxy.send(create("{}")).status, 401);
    }
    let answer = proxy.send(create("{}")).refused(503, "PROXY.NoCredential");
    proxy.record(&answer).says(json!({ "error.reason": "credential_held_back", "upstream.attempts": 0 }));
    assert_eq!(creates(&proxy).len(), 3);
}
