//! Overload: refused at once and before it costs anything, and no caller takes all capacity.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use serde_json::{Value, json};

use crate::harness::{Answer, Proxy, Scripted, Setup, TOKEN, Wire, cancel, request, wait_for};

#[test]
fn three_times_too_much_is_refused_for_two_thirds_and_the_rest_goes_its_way() {
    let alone = Load::of(CAPACITY).run();
    let crowd = Load::of(3 * CAPACITY).run();
    // For information: on a busy machine figures prove nothing.
    eprintln!("at capacity: {alone}\nat 3 times: {crowd}");
    assert_eq!(alone.refused.len(), 0, "what is not too much is not refused");
    assert!(crowd.refused.len() > crowd.passed.len(), "{crowd}");
}

#[test]
fn a_caller_leaves_room_for_the_others() {
    let (upstream, release) = holding();
    let proxy = Setup::new()
        .upstream(&upstream.url())
        .with_team()
        .section("limits: { in_flight: 8 }")
        .policy(&policy(""))
        .file("token", "MIIE")
        .credential(TOKEN_FILE)
        .start();
    let mut greedy: Vec<Wire> = (0..4).map(|_| sent(proxy.connect(), cancel("100211"))).collect();
    wait_for_calls(&upstream, 4);
    for _ in 0..3 {
        is_over_its_share(&proxy, &proxy.send(cancel("100211")));
    }
    let mut modest: Vec<Wire> = (0..4).map(|_| sent(proxy.connect_to("team"), oncall())).collect();
    wait_for_calls(&upstream, 8);
    // Now it is too much for the process itself.
    let answer = proxy.send_to("team", oncall()).refused(503, "PROXY.Overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    proxy.record(&answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.Overloaded", "upstream.attempts": 0, "caller.id": null,
    }));
    (0..8).for_each(|_| release.send(()).unwrap());
    assert!(greedy.iter_mut().chain(&mut modest).all(|wire| wire.answer().status == 204));
    upstream.saw(8);
}

#[test]
fn a_caller_has_more_or_less_where_the_policy_says_so_and_all_where_it_is_alone() {
    for (policy, most) in [(policy("limits: { in_flight: 6 }"), 6), (ALONE.to_owned(), 8)] {
        let (upstream, release) = holding();
        let proxy = Setup::new()
            .upstream(&upstream.url())
            .with_team()
            .section("limits: { in_flight: 8 }")
            .policy(&policy)
            .file("token", "MIIE")
            .credential(TOKEN_FILE)
            .start();
        let mut wires: Vec<Wire> = (0..most).map(|_| sent(proxy.connect(), cancel("100211"))).collect();
        wait_for_calls(&upstream, most);
        let status = proxy.send(cancel("100211")).status;
        assert_eq!(status, if most == 6 { 429 } else { 503 });
        (0..most).for_each(|_| release.send(()).unwrap());
        assert!(wires.iter_mut().all(|wire| wire.answer().status == 204));
    }
}

#[test]
fn callers_that_hold_connections_leave_descriptors_for_upstream() {
    let proxy = Setup::new().open_files(200).start();
    let lowered: Value = proxy
        .logged("too few file descriptors for `limits`: lowered; raise the open-files limit (LimitNOFILE)");
    assert_eq!((&lowered["descriptors"], &lowered["connections"]), (&json!(200), &json!(36)));
    // More than may be open: the oldest make room, some at once.
    let mut held: Vec<Wire> = (0..60).map(|_| proxy.dial("app")).collect();
    held.drain(..20).for_each(Wire::closed);
    proxy.cloud().set_faults([Fault::LatencyMs(50).until_cleared()]);
    proxy.expect_records(32);
    let first = held.len() - 32;
    for some in held[first..].chunks_mut(16) {
        some.iter_mut().for_each(|wire| wire.write(cancel("none")));
        for wire in some {
            assert_eq!(wire.answer().json()["error_code"], "MPC.10211", "upstream was reached");
        }
    }
    assert!(!proxy.log().contains("cannot accept connections"), "{}", proxy.log());
    proxy.upstream_saw(32);
}

/// This many callers, each calling as fast as it is answered.
struct Load {
    callers: usize,
}

/// How long each answer took.
struct Figures {
    passed: Vec<Duration>,
    refused: Vec<Duration>,
}

impl Load {
    fn of(callers: usize) -> Self {
        Self { callers }
    }

    /// Asserts that all answers and records are right.
    fn run(&self) -> Figures {
        let section = format!("limits: {{ in_flight: {CAPACITY} }}");
        let proxy = Setup::new().section(&section).start();
        proxy.cloud().set_faults([Fault::LatencyMs(20).until_cleared()]);
        let (over, figures) =
            (AtomicBool::new(false), Mutex::new(Figures { passed: vec![], refused: vec![] }));
        thread::scope(|scope| {
            for _ in 0..self.callers {
                scope.spawn(|| call_until(&proxy, &over, &figures));
            }
            thread::sleep(seconds());
            over.store(true, Relaxed);
        });
        let figures = figures.into_inner().unwrap();
        let (passed, refused) = (figures.passed.len(), figures.refused.len());
        let records = proxy.audit(passed + refused);
        let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
        assert_eq!((count("forwarded"), count("refused")), (passed, refused));
        proxy.upstream_saw(passed);
        figures
    }
}

fn call_until(proxy: &Proxy, over: &AtomicBool, figures: &Mutex<Figures>) {
    let mut wire = proxy.dial("app");
    while !over.load(Relaxed) {
        proxy.expect_records(1);
        let started = Instant::now();
        wire.write(cancel("none"));
        let (answer, took) = (wire.answer(), started.elapsed());
        if answer.status == 503 {
            answer.is_refusal(503, "PROXY.Overloaded");
            assert_eq!(answer.header("retry-after"), "1");
            figures.lock().unwrap().refused.push(took);
            if answer.is_last() {
                wire = proxy.dial("app");
            }
            // Less patient than `Retry-After`, but without spinning.
            thread::sleep(Duration::from_millis(5));
        } else {
            assert_eq!(answer.json()["error_code"], "MPC.10211", "{answer:?}");
            figures.lock().unwrap().passed.push(took);
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, took) in [("passed", &self.passed), ("refused", &self.refused)] {
            let mut took = took.clone();
            took.sort();
            let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
            write!(f, "{name} {}, p50 {:?}, p99 {:?}; ", took.len(), at(50), at(99))?;
        }
        Ok(())
    }
}

fn is_over_its_share(proxy: &Proxy, answer: &Answer) {
    answer.is_refusal(429, "PROXY.RateLimited");
    assert_eq!(answer.header("retry-after"), "1");
    proxy.record(answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.RateLimited", "upstream.attempts": 0,
        "caller.id": "editor-api",
    }));
}

fn sent(mut wire: Wire, request: String) -> Wire {
    wire.write(request);
    wire
}

fn wait_for_calls(upstream: &Scripted, count: usize) {
    wait_for("calls upstream", || (upstream.heads().len() == count).then_some(()));
}

/// Answers one request for each message it gets.
fn holding() -> (Scripted, Sender<()>) {
    let (release, released): (Sender<()>, Receiver<()>) = channel();
    let released = Arc::new(Mutex::new(released));
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            released.lock().unwrap().recv().ok();
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    (upstream, release)
}

fn oncall() -> String {
    request("DELETE", "/v2/media-prod/editing/jobs/100211", &[&format!("Authorization: Bearer {TOKEN}")])
}

fn policy(limits: &str) -> String {
    format!(
        "version: 1
callers:
  editor-api:
    identify: [ {{ listener: app }} ]
    {limits}
  oncall: {{ identify: [ {{ bearer: {{ sha256_file: oncall.sha256 }} }} ] }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

/// `SECONDS=30 cargo test --test it three_times_too_much -- --nocapture` for figures that mean something.
fn seconds() -> Duration {
    Duration::from_secs(std::env::var("SECONDS").map_or(1, |text| text.parse().unwrap()))
}

const CAPACITY: usize = 8;
/// An unconfirmed key makes few signatures at once; a token has no such gate.
const TOKEN_FILE: &str = "{ token_file: { path: token } }";
const ALONE: &str = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";
