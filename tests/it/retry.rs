//! Retries: of calls that were certainly not executed, and once of a call lost on a reused connection; nothing else, and
//! within the budget.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use mpc_auth_proxy::{clock, testserver::Fault};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    broken::ways::black_hole,
    harness::{Answer, PROJECT, Proxy, Scripted, Setup, cancel, wait_for},
};

#[test]
fn a_reused_connection_that_dies_before_an_answer_is_tried_once_more() {
    let upstream = going_stale(DONE);
    let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
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
    let proxy = Setup::new()
        .on_one_core()
        .upstream(&upstream.url())
        .section("upstream: { retries: { stale: never } }")
        .start();
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
    let proxy = Setup::new()
        .on_one_core()
        .upstream(&upstream.url())
        .section("upstream: { retries: { attempts: 10 } }")
        .start();
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
    let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
    let mut together = [proxy.connect(), proxy.connect()];
    together.iter_mut().for_each(|wire| wire.write(cancel("100211")));
    assert_eq!(together.each_mut().map(|wire| wire.answer().status), [204, 204]);
    let answer = proxy.send(cancel("100212")).with_status(204);
    proxy.record(&answer).says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
    upstream.saw(4);
}

#[test]
fn after_a_stale_connection_a_job_that_is_gone_may_be_gone_by_our_own_hand() {
    for (answer, noted) in [(NO_SUCH_TASK, true), (NOT_WAITING, true), (BAD_PARAMETER, false)] {
        let upstream = going_stale(answer);
        let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
        let [_, second] = two_calls(&proxy);
        let status = second.header("proxy-status");
        let note = "; details=\"an earlier attempt got no answer and may have cancelled the job\"";
        assert_eq!(status.ends_with(note), noted, "{status}");
        assert!(status.starts_with("mpc-auth-proxy; received-status=40"), "{status}");
        proxy.record(&second).says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
        upstream.saw(3);
    }
}

#[test]
fn a_cancelled_job_whose_answer_was_lost_is_cancelled_once() {
    let proxy = Setup::new().on_one_core().start();
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
    let proxy = Setup::new().on_one_core().start();
    proxy.cloud().set_faults([Fault::LoseAnswer.once()]);
    let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamInvalid");
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
        let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
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
    let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
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
    let answer = proxy.send(cancel("100212")).refused(504, "PROXY.UpstreamTimeout");
    assert!(answer.error_msg().contains("the outcome is unknown"), "{}", answer.error_msg());
    proxy.record(&answer).says(json!({
        "upstream.attempts": 1, "upstream.status_code": null, "outcome": "unknown",
        "error.type": "PROXY.UpstreamTimeout",
    }));
    proxy.upstream_saw(2);
}

#[test]
fn an_upstream_that_asks_for_a_moment_gets_it_once() {
    for (busy, answers, attempts) in [
        ("HTTP/1.1 429 Later\r\nRetry-After: 0", [DONE, DONE], 2),
        ("HTTP/1.1 503 Later\r\nRetry-After: 1", [DONE, DONE], 2),
        (&*format!("HTTP/1.1 503 Later\r\nRetry-After: {}", in_a_second()), [DONE, DONE], 2),
        // Once, and by its last word.
        ("HTTP/1.1 429 Later\r\nRetry-After: 0", [STILL_BUSY, DONE], 2),
        // Longer than the proxy waits, or not stated.
        ("HTTP/1.1 429 Later\r\nRetry-After: 3", [DONE, DONE], 1),
        ("HTTP/1.1 503 Later", [DONE, DONE], 1),
        ("HTTP/1.1 503 Later\r\nRetry-After: soon", [DONE, DONE], 1),
        // Not what it is for.
        ("HTTP/1.1 500 Oh\r\nRetry-After: 0", [DONE, DONE], 1),
    ] {
        let first = format!("{busy}\r\nContent-Length: 0\r\n\r\n");
        let expected = [&*first, answers[0]][attempts - 1].split(' ').nth(1).unwrap().to_owned();
        let upstream = in_turn([first, answers[0].to_owned(), answers[1].to_owned()]);
        let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
        let answer = proxy.send(cancel("100211"));
        assert_eq!(answer.status.to_string(), expected, "{busy}");
        proxy.record(&answer).says(json!({
            "upstream.attempts": attempts, "upstream.status_code": answer.status, "outcome": "forwarded",
        }));
        upstream.saw(attempts);
    }
}

#[test]
fn a_moment_that_the_deadline_does_not_have_is_not_waited_for() {
    let upstream = in_turn([LATER.into(), DONE.into(), DONE.into()]);
    let proxy = Setup::new()
        .on_one_core()
        .upstream(&upstream.url())
        .section("limits: { request_deadline: 900ms }")
        .start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "outcome": "forwarded" }));
    upstream.saw(1);
}

#[test]
fn what_becomes_of_the_second_attempt_is_the_last_word_if_it_was_sent() {
    // The second attempt gets no answer.
    let upstream = in_turn([STILL_BUSY.into(), String::new(), String::new()]);
    let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
    let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamInvalid");
    assert!(answer.error_msg().contains("the outcome is unknown"), "{}", answer.error_msg());
    proxy.record(&answer).says(json!({
        "upstream.attempts": 2, "upstream.status_code": null, "outcome": "unknown",
    }));
    // The second attempt is not made: the circuit breaker is open.
    let upstream = in_turn([LATER.replace(": 1", ": 0"), DONE.into(), DONE.into()]);
    let section = "upstream: { breaker: { failures: 1 } }";
    let proxy = Setup::new().on_one_core().upstream(&upstream.url()).section(section).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.header("proxy-status")), (503, "mpc-auth-proxy; received-status=503"));
    proxy.record(&answer).says(json!({
        "upstream.attempts": 1, "upstream.status_code": 503, "outcome": "forwarded",
    }));
    upstream.saw(1);
}

#[test]
fn an_upstream_that_is_always_busy_sees_no_more_than_the_budget() {
    for (budget, calls, most) in [("20%", 50, 60), ("50%", 50, 75), ("0%", 20, 23)] {
        let upstream = Scripted::start(|_, peer| while peer.request().is_some() && peer.write(STILL_BUSY) {});
        let section =
            format!("upstream: {{ retries: {{ budget: {budget} }}, breaker: {{ failures: 1000 }} }}");
        let proxy = Setup::new().on_one_core().upstream(&upstream.url()).section(&section).start();
        for _ in 0..calls {
            assert_eq!(proxy.send(cancel("100211")).status, 429);
        }
        let attempts: u64 =
            proxy.audit(calls).iter().map(|record| record["upstream.attempts"].as_u64().unwrap()).sum();
        assert!(attempts > calls as u64 && attempts <= most, "{budget}: {attempts}");
        upstream.saw(usize::try_from(attempts).unwrap());
    }
}

#[test]
fn a_call_that_is_cut_while_connecting_was_abandoned_and_one_that_was_sent_is_unknown() {
    let (_hole, address) = black_hole();
    let silent = Scripted::start(|_, peer| {
        peer.request();
        peer.wait_until_closed();
    });
    for (upstream, outcome) in [(format!("http://{address}"), "abandoned"), (silent.url(), "unknown")] {
        let mut proxy = Setup::new().upstream(&upstream).section("drain: { timeout: 300ms }").start();
        let _wire = proxy.sending(cancel("100211"));
        wait_for("call under way", || {
            let metrics = proxy.probe("/metrics").body;
            metrics.contains("mpc_auth_proxy_in_flight_requests 1").then_some(())
        });
        proxy.signal(Signal::SIGTERM);
        assert_eq!(proxy.ended().code(), Some(3));
        proxy.audit(1)[0].says(json!({
            "outcome": outcome, "upstream.attempts": 1, "http.response.status_code": null,
        }));
    }
    silent.saw(1);
}

#[test]
fn a_deadline_that_ends_while_connecting_says_that_nothing_was_sent() {
    let (_hole, address) = black_hole();
    let section = "limits: { request_deadline: 300ms }";
    let proxy = Setup::new().upstream(&format!("http://{address}")).section(section).start();
    let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
    assert!(answer.error_msg().ends_with("nothing was sent"), "{}", answer.error_msg());
    proxy.record(&answer).says(json!({ "outcome": "failed", "upstream.attempts": 1 }));
}

#[test]
fn each_attempt_is_signed_anew() {
    let upstream = going_stale(DONE);
    let proxy = Setup::new().on_one_core().upstream(&upstream.url()).start();
    let [_, second] = two_calls(&proxy);
    assert_eq!(second.status, 204);
    for head in upstream.saw(3) {
        let count =
            |name: &str| head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).count();
        assert_eq!((count("authorization:"), count("x-sdk-date:"), count("host:")), (1, 1, 1), "{head}");
    }
}

/// A call that leaves a connection in the pool, and one that reuses it.
fn two_calls(proxy: &Proxy) -> [Answer; 2] {
    let first = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&first).says(json!({ "upstream.attempts": 1, "outcome": "forwarded" }));
    [first, proxy.send(cancel("100212"))]
}

/// Its first connection closes exactly when a second request has arrived; the next one answers.
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

/// Gives each of these answers once, on any connection; an empty one is no answer.
fn in_turn(answers: [String; 3]) -> Scripted {
    let turn = AtomicUsize::new(0);
    Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            let answer = &answers[turn.fetch_add(1, Relaxed)];
            if answer.is_empty() || !peer.write(answer) {
                return;
            }
        }
    })
}

/// The HTTP date in at least a second: dates drop fractions of seconds.
fn in_a_second() -> String {
    let then = SystemTime::from(clock::now()) + Duration::from_secs(2);
    httpdate::fmt_http_date(then)
}

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";
const LATER: &str = "HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
const STILL_BUSY: &str = "HTTP/1.1 429 Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const NO_SUCH_TASK: &str = "HTTP/1.1 403 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10211\"}";
const NOT_WAITING: &str = "HTTP/1.1 400 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10213\"}";
const BAD_PARAMETER: &str = "HTTP/1.1 400 No\r\nContent-Length: 26\r\n\r\n{\"error_code\":\"MPC.10202\"}";
