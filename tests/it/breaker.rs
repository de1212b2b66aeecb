//! The circuit breaker: a failing upstream gets no calls, callers are refused at once, and recovery is noticed soon.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Answer, BOUND, Peer, Proxy, Scripted, Setup, cancel, request, wait_for};

#[test]
fn after_failures_in_a_row_calls_are_refused_and_nothing_is_sent() {
    let (upstream, works) = failing_until_told();
    let proxy = Setup::new().upstream(&upstream.url()).start();
    for _ in 0..5 {
        is_closed(&proxy, &upstream);
        let answer = proxy.send(cancel("100211"));
        assert_eq!(
            (answer.status, answer.header("proxy-status")),
            (503, "mpc-auth-proxy; received-status=503")
        );
    }
    let answer = proxy.send(cancel("100211"));
    is_refused(&answer);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.error_msg().ends_with("nothing was sent"), "{}", answer.error_msg());
    assert!(answer.header("proxy-status").contains("error=destination_unavailable"), "{answer:?}");
    proxy.record(&answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.CircuitOpen", "http.response.status_code": 503,
        "upstream.attempts": 0, "upstream.status_code": null, "policy.effect": "allow",
    }));
    upstream.saw(5);
    assert_eq!(circuit(&proxy), json!("open"));
    assert_eq!(gauge(&proxy, &upstream), "1");
    works.store(true, Relaxed);
    until_passed(&proxy, "100211").with_status(204);
    is_closed(&proxy, &upstream);
    upstream.saw(6);
    // Once per change.
    proxy.logged("circuit breaker closed: upstream is back");
    let log = proxy.log();
    let opened = format!("\"endpoint\":\"{}\",\"last\":\"503 Service Unavailable\"", upstream.url());
    assert_eq!(
        (log.matches("circuit breaker opened").count(), log.matches(&opened).count()),
        (1, 1),
        "{log}"
    );
    assert_eq!(log.matches("circuit breaker closed").count(), 1, "{log}");
}

#[test]
fn while_all_fails_upstream_sees_hardly_more_than_one_call_a_second() {
    let (upstream, works) = failing_until_told();
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let (started, over) = (Instant::now(), AtomicBool::new(false));
    let calls: usize = thread::scope(|scope| {
        let call = || {
            let mut calls = 0;
            while !over.load(Relaxed) {
                let answer = proxy.send(cancel("100211"));
                assert_eq!(answer.status, 503, "{answer:?}");
                calls += 1;
                // Refusals are quick.
                thread::sleep(Duration::from_millis(5));
            }
            calls
        };
        let callers = [scope.spawn(call), scope.spawn(call), scope.spawn(call), scope.spawn(call)];
        // Two probes, however long they take.
        wait_for("second probe", || (upstream.heads().len() >= 5 + 2).then_some(()));
        over.store(true, Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    let (seen, seconds) = (upstream.heads().len(), usize::try_from(started.elapsed().as_secs()).unwrap());
    // Those in flight at the fifth failure had been admitted before.
    assert!(seen <= 5 + 3 + seconds, "{seen} of {calls} in {seconds} s");
    works.store(true, Relaxed);
    assert_eq!(until_passed(&proxy, "100211").status, 204);
    upstream.saw(seen + 1);
}

#[test]
fn every_kind_of_failure_counts_and_no_answer_of_an_upstream_that_works() {
    for (name, script, fails) in kinds() {
        let upstream = Scripted::start(move |_, peer| while peer.request().is_some() && script(peer) {});
        let section = "upstream: { attempt_timeout: 2s, connect_timeout: 2s, breaker: { failures: 2 } }";
        let proxy = Setup::new().upstream(&upstream.url()).section(section).start();
        for _ in 0..2 {
            assert_ne!(proxy.send(cancel("100211")).status, 204, "{name}");
        }
        // It stays half-open until a call succeeds, however late.
        assert_eq!(circuit(&proxy), json!(if fails { "open" } else { "closed" }), "{name}");
        upstream.saw(2);
    }
    let proxy = Setup::new().upstream("http://127.0.0.1:1").start();
    let statuses: Vec<u16> = (0..3).map(|_| proxy.send(cancel("100211")).status).collect();
    // Attempts count, so the third of the second call is not made.
    assert_eq!(statuses, [502, 502, 503]);
    let attempts: Vec<_> = proxy.audit(3).iter().map(|record| record["upstream.attempts"].clone()).collect();
    assert_eq!(attempts, [3, 2, 0]);
}

#[test]
fn a_success_between_failures_keeps_it_closed() {
    let turn = Mutex::new(0);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            peer.write(if *turn % 5 == 0 { DONE } else { UNAVAILABLE });
        }
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let passed = (0..20).filter(|_| proxy.send(cancel("100211")).status == 204).count();
    assert_eq!(passed, 4);
    upstream.saw(20);
}

#[test]
fn one_endpoints_circuit_is_not_anothers() {
    let (failing, _) = failing_until_told();
    let section = "upstream: { breaker: { failures: 1 } }";
    let proxy = Setup::new().section(section).another_project("broken", &failing.url()).start();
    let broken = || proxy.send(request("DELETE", "/v2/broken/editing/jobs/100211", &[]));
    assert_eq!(broken().status, 503);
    is_refused(&broken());
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    failing.saw(1);
    proxy.upstream_saw(1);
}

#[test]
fn one_call_at_a_time_finds_out_whether_it_works_again() {
    let (arrived, probe) = channel();
    let (release, released): (Sender<()>, Receiver<()>) = channel();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let upstream = Scripted::start(move |connection, peer| {
        while peer.request().is_some() {
            match connection {
                0 => peer.write(UNAVAILABLE),
                _ => {
                    arrived.lock().unwrap().send(()).unwrap();
                    released.lock().unwrap().recv().unwrap();
                    peer.write(DONE)
                }
            };
        }
    });
    let section = "upstream: { breaker: { failures: 1, open_for: 100ms } }";
    let proxy = Setup::new().upstream(&upstream.url()).section(section).start();
    assert_eq!(proxy.send(cancel("100211")).status, 503);
    thread::scope(|scope| {
        let first = scope.spawn(|| until_passed(&proxy, "100211"));
        probe.recv_timeout(BOUND).unwrap();
        // Longer than the pause between two probes.
        thread::sleep(Duration::from_millis(300));
        for _ in 0..20 {
            is_refused(&proxy.send(cancel("100212")));
        }
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 204);
    });
    // On a connection of its own: the pooled one was from before.
    upstream.saw(2);
}

/// Calls until a call is not refused.
fn until_passed(proxy: &Proxy, job: &str) -> Answer {
    wait_for("call that is let through", || {
        let answer = proxy.send(cancel(job));
        (!answer.body.contains("PROXY.CircuitOpen")).then_some(answer)
    })
}

fn is_refused(answer: &Answer) {
    answer.is_refusal(503, "PROXY.CircuitOpen");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0, "{answer:?}");
}

fn is_closed(proxy: &Proxy, upstream: &Scripted) {
    assert_eq!((circuit(proxy), gauge(proxy, upstream)), (json!("closed"), "0".into()));
}

fn circuit(proxy: &Proxy) -> Value {
    proxy.probe("/status").json()["upstreams"][0]["circuit"].clone()
}

fn gauge(proxy: &Proxy, upstream: &Scripted) -> String {
    let metrics = proxy.probe("/metrics").body;
    let series = format!("mpc_auth_proxy_upstream_circuit_open{{endpoint=\"{}\"}} ", upstream.url());
    metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("absent").to_owned()
}

/// Answers 503 until the switch is set.
fn failing_until_told() -> (Scripted, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&works);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() && peer.write(if told.load(Relaxed) { DONE } else { UNAVAILABLE }) {}
    });
    (upstream, works)
}

type Kind = (&'static str, fn(&mut Peer) -> bool, bool);

/// A name, the behaviour of upstream, and whether it counts as a failure.
fn kinds() -> [Kind; 10] {
    [
        ("500", |peer| peer.write("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), true),
        ("502", |peer| peer.write("HTTP/1.1 502 Oh\r\nContent-Length: 0\r\n\r\n"), true),
        ("503", |peer| peer.write(UNAVAILABLE), true),
        ("504", |peer| peer.write("HTTP/1.1 504 Oh\r\nContent-Length: 0\r\n\r\n"), true),
        ("closed", |_| false, true),
        ("garbage", |peer| peer.write("nonsense\r\n\r\n"), true),
        (
            "silence",
            |peer| {
                peer.wait_until_closed();
                false
            },
            true,
        ),
        ("400", |peer| peer.write("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"), false),
        ("429", |peer| peer.write("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"), false),
        ("501", |peer| peer.write("HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n"), false),
    ]
}

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
