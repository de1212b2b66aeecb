//! Connection limits: which connections are kept and which are closed. None with a request in flight is closed, and nobody
//! keeps others out.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    thread::{self, sleep},
    time::Duration,
};

use mpc_auth_proxy::testserver::Fault;
use rustls::version::TLS13;
use serde_json::json;

use crate::harness::{
    Authority, Client, Proxy, Setup, Wanted, Wire, cancel, request, wait_for, with_a_small_buffer,
};

#[test]
fn slow_heads_make_room_for_whoever_comes_the_oldest_first() {
    let proxy = Setup::new().section("limits: { connections: 8, header_timeout: 1h }").start();
    let mut slow: Vec<Wire> = (0..30).map(|_| slow_head(&proxy)).collect();
    for _ in 0..3 {
        let answer = proxy.send(cancel("none")).with_status(403);
        proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    }
    // The number closed. Their partial heads are no requests and have no records.
    let cut = cut(&proxy, "crowded");
    assert!((23..=25).contains(&cut), "{cut}");
    slow.drain(..cut).for_each(Wire::closed);
    slow.clear();
    wait_for("end of the connections", || (gauge(&proxy, "connections") == 0).then_some(()));
    assert_eq!(gauge(&proxy, "connections_limit"), 8);
    proxy.upstream_saw(3);
}

#[test]
fn a_connection_that_never_brought_a_request_goes_before_one_that_did() {
    let proxy = Setup::new().section("limits: { connections: 3 }").start();
    let mut proven = answered(&proxy);
    let silent = proxy.dial("app");
    let slow = slow_head(&proxy);
    let mut first = answered(&proxy);
    silent.closed();
    let mut second = answered(&proxy);
    slow.closed();
    for wire in [&mut proven, &mut first, &mut second] {
        proxy.expect_records(1);
        assert_eq!(wire.ask(cancel("none")).status, 403);
    }
    // If all have sent a request, the longest idle one is closed.
    let third = answered(&proxy);
    proven.closed();
    drop(third);
}

#[test]
fn where_every_connection_is_at_work_new_callers_wait_and_none_is_lost() {
    let proxy = Setup::new().section("limits: { connections: 4 }").start();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.cloud().set_faults([Fault::LatencyMs(20).until_cleared()]);
    let (callers, calls) = (16, 10);
    proxy.expect_records(callers * calls);
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let mut wire = proxy.dial("app");
                for _ in 0..calls {
                    let answer = wire.ask(cancel("none"));
                    assert_eq!(answer.status, 403, "{answer:?}");
                    if answer.all("connection").any(|value| value == "close") {
                        wire = proxy.dial("app");
                    }
                }
            });
        }
    });
    proxy.upstream_saw(1 + callers * calls);
}

#[test]
fn a_connection_ends_with_its_last_request_and_says_so() {
    let proxy = Setup::new().section("limits: { connection_requests: 3 }").start();
    proxy.expect_records(3);
    let mut wire = proxy.dial("app");
    // Nothing after the last one is read.
    wire.write(request("DELETE", "/", &[]).repeat(4));
    let last = [(); 3].map(|()| wire.answer().all("connection").eq(["close"]));
    assert_eq!(last, [false, false, true]);
    wire.closed();
}

#[test]
fn a_connection_ends_with_an_answer_when_it_is_old_and_no_call_is_lost() {
    let proxy = Setup::new().section("limits: { connection_lifetime: 100ms }").start();
    let (mut wire, mut connections, mut last) = (proxy.dial("app"), 1, false);
    for _ in 0..300 {
        if last {
            wire.closed();
            wire = proxy.dial("app");
            connections += 1;
        }
        proxy.expect_records(1);
        let answer = wire.ask(cancel("none")).with_status(403);
        last = answer.all("connection").eq(["close"]);
        sleep(Duration::from_millis(2));
    }
    assert!(connections > 3, "{connections}");
    // An idle one is not closed for its age, as a request may be on its way.
    let mut wire = answered(&proxy);
    sleep(Duration::from_millis(150));
    proxy.expect_records(1);
    let answer = wire.ask(cancel("none"));
    assert_eq!((answer.status, answer.header("connection")), (403, "close"));
    wire.closed();
}

#[test]
fn a_caller_that_does_not_read_its_answers_is_cut_off() {
    let proxy = Setup::new().section("limits: { idle_timeout: 300ms }").start().records_elsewhere();
    let mut stream = with_a_small_buffer(proxy.address("app"));
    stream.set_nonblocking(true).unwrap();
    // It is authenticated, or its refusals would close it.
    stream.write_all(cancel("100211").as_bytes()).unwrap();
    let many = request("DELETE", "/", &[]).repeat(1000);
    wait_for("end of what it takes", || match stream.write(many.as_bytes()) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => (cut(&proxy, "answer") == 1).then_some(()),
        Err(_) => Some(()),
    });
    assert_eq!(cut(&proxy, "answer"), 1);
    // Unread answers end with a reset, or are cut.
    stream.set_nonblocking(false).unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    wait_for("end of the connection", || (gauge(&proxy, "connections") == 0).then_some(()));
    let answers = rest.windows(12).filter(|bytes| bytes == b"HTTP/1.1 404").count();
    assert!(proxy.records().len() >= answers, "{answers}");
}

#[test]
fn a_handshake_that_fails_is_counted_and_does_not_last() {
    let authority = Authority::new();
    let proxy = Setup::new().mesh(&authority).section("limits: { header_timeout: 3s }").start();
    let failures = |reason: &str| {
        count(&proxy, &format!("tls_handshake_failures_total{{listener=\"mesh\",reason=\"{reason}\"}}"))
    };
    assert_eq!(["timeout", "hung_up", "rejected"].map(failures), [0; 3]);
    let stranger = Authority::new().issue(Wanted::caller());
    let client = Client { trusts: &authority, shows: Some(&stranger), version: &TLS13 };
    drop(client.ask(&proxy, "mesh", cancel("none")));
    wait_for("rejection", || (failures("rejected") == 1).then_some(()));
    proxy.dial("mesh").closed();
    wait_for("time-out", || (failures("timeout") == 1).then_some(()));
    drop(proxy.dial("mesh"));
    wait_for("end of the handshake", || (failures("hung_up") == 1).then_some(()));
    let mut plain = proxy.dial("mesh");
    plain.write(cancel("none"));
    wait_for("rejection", || (failures("rejected") == 2).then_some(()));
    proxy.upstream_saw(0);
}

#[test]
fn handshakes_that_do_not_end_make_room_too() {
    let authority = Authority::new();
    let proxy =
        Setup::new().mesh(&authority).section("limits: { connections: 4, header_timeout: 1h }").start();
    let held: Vec<Wire> = (0..12).map(|_| proxy.dial("mesh")).collect();
    let caller = authority.host();
    let client = Client { trusts: &authority, shows: Some(&caller), version: &TLS13 };
    proxy.expect_records(1);
    assert_eq!(client.ask(&proxy, "mesh", cancel("none")).unwrap().answer().status, 403);
    assert!(cut(&proxy, "crowded") >= 9);
    held.into_iter().take(9).for_each(Wire::closed);
}

#[test]
fn without_a_descriptor_left_it_waits_makes_room_and_goes_on() {
    let proxy = Setup::new().start();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let open = fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count();
    proxy.limit_open_files(u64::try_from(open + 10).unwrap());
    // Far more than there are descriptors. Those it cannot accept wait in the backlog.
    let held: Vec<Wire> = (0..60).map(|_| proxy.dial("app")).collect();
    proxy.logged("cannot accept connections");
    for _ in 0..5 {
        let answer = proxy.send(cancel("none"));
        assert_eq!(answer.status, 403, "{answer:?}");
        proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    }
    assert!(cut(&proxy, "crowded") > 0);
    drop(held);
    proxy.limit_open_files(1024);
    for _ in 0..5 {
        let answer = proxy.send(cancel("none")).with_status(403);
        proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    }
    let said = proxy.log().matches("cannot accept connections").count();
    assert!(said < 50, "it is tried a hundred times a second, and said {said} times");
    proxy.upstream_saw(11);
}

#[test]
fn each_worker_serves_its_share_of_long_connections() {
    let proxy = Setup::new().start();
    let before = workers(&proxy);
    let mut wires: Vec<Wire> = before.iter().map(|_| proxy.dial("app")).collect();
    for _ in 0..200 {
        for wire in &mut wires {
            proxy.expect_records(1);
            assert_eq!(wire.ask(cancel("none")).status, 403);
        }
    }
    for ((name, after), (_, before)) in workers(&proxy).into_iter().zip(before) {
        assert!(after - before >= 200, "{name} has had {} of 200 calls at most", after - before);
    }
}

/// A connection that has sent half a head.
fn slow_head(proxy: &Proxy) -> Wire {
    let mut wire = proxy.dial("app");
    wire.write("DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1\r\nHost:");
    wire
}

/// A connection with one answered request.
fn answered(proxy: &Proxy) -> Wire {
    let mut wire = proxy.sending(cancel("none"));
    assert_eq!(wire.answer().status, 403);
    wire
}

/// The number of connections cut for this reason.
fn cut(proxy: &Proxy, reason: &str) -> usize {
    count(proxy, &format!("connections_cut_total{{reason=\"{reason}\"}}"))
}

fn gauge(proxy: &Proxy, name: &str) -> usize {
    count(proxy, name)
}

fn count(proxy: &Proxy, series: &str) -> usize {
    let metrics = proxy.probe("/metrics").body;
    let line = format!("mpc_auth_proxy_{series} ");
    let value = metrics.lines().find_map(|text| text.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}

/// The workers of a proxy, and how often each has waited.
fn workers(proxy: &Proxy) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let worker = |task: fs::DirEntry| {
        // A thread that has just ended is no worker.
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        name.starts_with("worker-").then(|| (name, waits.trim().parse().unwrap()))
    };
    let mut workers: Vec<(String, u64)> = tasks.filter_map(|task| worker(task.unwrap())).collect();
    workers.sort();
    workers
}
