//! What is tried again? What was surely not processed, and once what a reused connection swallowed. Nothing else.

use std::sync::Barrier;

use mpc_auth_proxy::testserver::Fault;
use serde_json::json;

use crate::harness::{Answer, PROJECT, Proxy, Scripted, Setup, cancel};

#[test]
fn a_reused_connection_that_dies_before_an_answer_is_tried_once_more() {
    let upstream = going_stale(DONE);
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let [_, second] = two_calls(&proxy);
    assert_eq!((second.status, second.header("proxy-status")), (204, "mpc-auth-proxy; received-status=204"));
    proxy.record(&second).says(json!({
        "upstream.attempts": 2, "upstream.status_code": 204, "outcome": "forwarded", "error.type": null,
    }));
    let heads = upstream.saw(3);
    assert_eq!(heads[1].lines().next(), heads[2].lines().next(), "the same job");
}

#[test]
fn a_reused_connection_that_dies_is_not_tried_again_when_told_never() {
    let upstream = going_stale(DONE);
    let proxy =
        Setup::new().upstream(&upstream.url()).section("upstream: { retries: { stale: never } }").start();
    let [_, second] = two_calls(&proxy);
    second.is_refusal(502, "PROXY.UpstreamInvalid");
    assert!(second.error_msg().contains("the outcome is unknown"), "{}", second.error_msg());
    proxy.record(&second).says(json!({ "upstream.attempts": 1, "outcome": "unknown" }));
    upstream.saw(2);
}

#[test]
fn it_is_tried_once_more_and_not_twice() {
    // Every connection answers once, and dies under its second request; so does each fresh one under its first.
    let upstream = Scripted::start(|connection, peer| {
        peer.request();
        if connection == 0 {
            peer.write(DONE);
            peer.request();
        }
    });
    let proxy =
        Setup::new().upstream(&upstream.url()).section("upstream: { retries: { attempts: 10 } }").start();
    let [_, second] = two_calls(&proxy);
    second.is_refusal(502, "PROXY.UpstreamInvalid");
    proxy.record(&second).says(json!({ "upstream.attempts": 2, "outcome": "unknown" }));
    upstream.saw(3);
}

#[test]
fn the_second_attempt_takes_no_pooled_connection() {
    // Two connections go into the pool together, and both die under their second request.
    let both_asked = Barrier::new(2);
    let upstream = Scripted::start(move |connection, peer| {
        peer.request();
        if connection < 2 {
            both_asked.wait();
            peer.write(DONE);
            peer.request();
        } else {
            peer.write(DONE);
        }
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let mut together = [proxy.connect(), proxy.connect()];
    for wire in &mut together {
        wire.write(cancel("100211"));
    }
    assert_eq!(together.each_mut().map(|wire| wire.answer().status), [204, 204]);
    let answer = proxy.send(cancel("100212"));
    assert_eq!(answer.status, 204);
    proxy.record(&answer).says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
    upstream.saw(4);
}

#[test]
fn after_a_stale_connection_a_job_that_is_gone_may_be_gone_by_our_own_hand() {
    for (answer, noted) in [(NO_SUCH_TASK, true), (NOT_WAITING, true), (BAD_PARAMETER, false)] {
        let upstream = going_stale(answer);
        let proxy = Setup::new().upstream(&upstream.url()).start();
        let [_, second] = two_calls(&proxy);
        let status = second.header("proxy-status");
        let note = "; details=\"an attempt before this one got no answer and may have cancelled the job\"";
        assert_eq!(status.ends_with(note), noted, "{status}");
        assert!(status.starts_with("mpc-auth-proxy; received-status=40"), "{status}");
        proxy.record(&second).says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
        upstream.saw(3);
    }
}

#[test]
fn a_cancelled_job_whose_answer_was_lost_is_cancelled_once() {
    let proxy = Setup::new().start();
    proxy.queue("100212");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.cloud().set_faults([Fault::LoseAnswer.once()]);
    let answer = proxy.send(cancel("100212"));
    assert_eq!((answer.status, answer.json()["error_code"].as_str()), (403, Some("MPC.10211")));
    assert!(answer.header("proxy-status").contains("may have cancelled the job"), "{answer:?}");
    proxy.record(&answer).says(json!({
        "upstream.attempts": 2, "upstream.error_code": "MPC.10211", "outcome": "forwarded",
    }));
    assert_eq!(proxy.cloud().job_state(PROJECT, "100212"), None);
    let seen = proxy.upstream_saw(3);
    assert_eq!(seen[1].target, seen[2].target);
    assert_ne!(seen[1].peer_port, seen[2].peer_port, "the second attempt has a fresh connection");
}

#[test]
fn a_fresh_connection_that_dies_is_never_tried_again() {
    let proxy = Setup::new().start();
    proxy.cloud().set_faults([Fault::LoseAnswer.once()]);
    let answer = proxy.send(cancel("100211"));
    answer.is_refusal(502, "PROXY.UpstreamInvalid");
    assert!(answer.error_msg().contains("the outcome is unknown"), "{}", answer.error_msg());
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "outcome": "unknown" }));
    assert_eq!(proxy.cloud().job_state(PROJECT, "100211"), None, "it was carried out");
    proxy.upstream_saw(1);
}

#[test]
fn a_refused_connection_is_tried_as_often_as_configured() {
    for (section, attempts) in [
        ("", 3),
        ("upstream: { retries: { attempts: 1 } }", 1),
        ("upstream: { retries: { attempts: 2, stale: never } }", 2),
    ] {
        let proxy = Setup::new().upstream(NOBODY).section(section).start();
        let answer = proxy.send(cancel("100211"));
        answer.is_refusal(502, "PROXY.UpstreamUnreachable");
        assert!(answer.error_msg().ends_with("nothing was sent"), "{}", answer.error_msg());
        assert!(answer.header("proxy-status").contains("error=connection_refused"), "{answer:?}");
        proxy.record(&answer).says(json!({
            "upstream.attempts": attempts, "upstream.status_code": null, "outcome": "failed",
            "error.type": "PROXY.UpstreamUnreachable",
        }));
        proxy.upstream_saw(0);
    }
}

#[test]
fn a_name_without_an_address_is_told_apart() {
    let proxy = Setup::new()
        .upstream("https://mpc.invalid")
        .section("upstream: { connect_timeout: 2s, retries: { attempts: 1 } }")
        .start();
    let answer = proxy.send(cancel("100211"));
    answer.is_refusal(502, "PROXY.UpstreamUnreachable");
    let status = answer.header("proxy-status");
    // Where no name server answers, it takes too long before it fails.
    assert!(["dns_error", "connection_timeout"].iter().any(|error| status.contains(error)), "{status}");
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "outcome": "failed" }));
    proxy.upstream_saw(0);
}

#[test]
fn what_was_sent_and_not_answered_in_time_is_never_sent_again() {
    let proxy = Setup::new().section("upstream: { attempt_timeout: 300ms, connect_timeout: 200ms }").start();
    proxy.queue("100212");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.cloud().set_faults([Fault::LatencyMs(60_000).once()]);
    let answer = proxy.send(cancel("100212"));
    answer.is_refusal(504, "PROXY.UpstreamTimeout");
    assert!(answer.error_msg().contains("the outcome is unknown"), "{}", answer.error_msg());
    proxy.record(&answer).says(json!({
        "upstream.attempts": 1, "upstream.status_code": null, "outcome": "unknown",
        "error.type": "PROXY.UpstreamTimeout",
    }));
    proxy.upstream_saw(2);
}

#[test]
fn each_attempt_is_signed_anew() {
    let upstream = going_stale(DONE);
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let [_, second] = two_calls(&proxy);
    assert_eq!(second.status, 204);
    for head in upstream.saw(3) {
        let count =
            |name: &str| head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).count();
        assert_eq!((count("authorization:"), count("x-sdk-date:"), count("host:")), (1, 1, 1), "{head}");
    }
}

/// A call that leaves a connection in the pool, and one that takes it from there.
fn two_calls(proxy: &Proxy) -> [Answer; 2] {
    let first = proxy.send(cancel("100211"));
    assert_eq!(first.status, 204);
    proxy.record(&first).says(json!({ "upstream.attempts": 1, "outcome": "forwarded" }));
    [first, proxy.send(cancel("100212"))]
}

/// Its first connection closes exactly when a second request has arrived on it; the next one answers.
fn going_stale(then: &'static str) -> Scripted {
    Scripted::start(move |connection, peer| {
        peer.request();
        match connection {
            0 => {
                peer.write(DONE);
                peer.request();
            }
            _ => drop(peer.write(then)),
        }
    })
}

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";
const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const NO_SUCH_TASK: &str = "HTTP/1.1 403 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10211\"}";
const NOT_WAITING: &str = "HTTP/1.1 400 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10213\"}";
const BAD_PARAMETER: &str = "HTTP/1.1 400 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10202\"}";
