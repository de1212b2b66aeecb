//! Kills: with `write_ahead` no call is sent before its intent is written, and the next start records every call that was
//! in flight as of unknown outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{BOUND, PROJECT, Proxy, Record, Scripted, Setup, cancel, request, wait_for};

/// `CRASH_ROUNDS=1000 cargo test --test it crash::` is the long run.
#[test]
fn killed_at_any_moment_no_call_is_without_an_intent_and_every_intent_is_closed_once() {
    let rounds = env::var("CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let (mut sent, mut interrupted) = (0, 0);
    // Each file is read in every round, so it must not become too long.
    for first in (0..rounds).step_by(A_FILE) {
        let [more, closed] = killed_again_and_again(first..rounds.min(first + A_FILE));
        (sent, interrupted) = (sent + more, interrupted + closed);
    }
    eprintln!("{rounds} times killed, {sent} calls sent, {interrupted} of them under way");
    assert!(sent > rounds * 20, "only {sent} calls were sent");
    assert!(interrupted > 0, "nothing was under way when it was killed");
}

/// The number of calls upstream saw, and of those in flight at the kill.
fn killed_again_and_again(rounds: Range<usize>) -> [usize; 2] {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("audit.log");
    let mut sent = BTreeSet::new();
    for round in rounds {
        let proxy = announcing(Setup::new(), &log).start().records_elsewhere();
        all_are_closed(&log);
        // So that calls are under way at every step, upstream's included.
        let slow = Fault::LatencyMs(fastrand::u64(0..20)).until_cleared();
        proxy.cloud().set_faults([slow]);
        kill_under_load(&proxy, round);
        let seen = proxy.cloud().requests();
        sent.extend(seen.iter().map(|seen| seen.target.rsplit_once('/').unwrap().1.to_owned()));
        let intents = of(&log, "intent");
        let announced: BTreeSet<&str> = intents.iter().map(|intent| intent.text("mpc.job_id")).collect();
        let unannounced: Vec<_> = sent.iter().filter(|job| !announced.contains(job.as_str())).collect();
        assert!(unannounced.is_empty(), "round {round}: {unannounced:?}");
    }
    drop(announcing(Setup::new(), &log).start().records_elsewhere());
    [sent.len(), all_are_closed(&log)]
}

#[test]
fn a_call_that_was_under_way_is_recorded_with_what_was_known_of_it() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("audit.log");
    let mut proxy = announcing(Setup::new(), &log).start().records_elsewhere();
    proxy.cloud().set_faults([Fault::LatencyMs(60_000).until_cleared()]);
    let _wire = proxy.sending(cancel("100211"));
    wait_for("request upstream", || (proxy.cloud().requests().len() == 1).then_some(()));
    proxy.signal(Signal::SIGKILL);
    proxy.ended();
    let proxy = announcing(Setup::new(), &log).start().records_elsewhere();
    proxy.logged("calls interrupted by a killed process are recorded with an unknown outcome");
    let (intents, records) = (of(&log, "intent"), of(&log, "request"));
    assert_eq!((intents.len(), records.len()), (1, 1));
    for line in [&intents[0], &records[0]] {
        line.says(json!({
            "request.id": intents[0]["request.id"], "timestamp": intents[0]["timestamp"],
            "caller.id": "editor-api", "mpc.job_id": "100211", "mpc.project_id": PROJECT,
            "policy.effect": "allow", "policy.rule": "editor-cancels", "credential.name": "prod",
            "upstream.attempts": 1, "http.response.status_code": null, "duration_ms": null,
        }));
        let cause = ["error.reason", "error.message"];
        let fields = records[0].fields().filter(|field| !cause.contains(field));
        assert!(line.fields().filter(|field| !cause.contains(field)).eq(fields), "the same fields");
    }
    intents[0].says(json!({ "event": "intent", "outcome": null, "error.type": null }));
    records[0].says(json!({ "event": "request", "outcome": "unknown", "error.type": "PROXY.Interrupted", "error.reason": "interrupted" }));
    proxy.upstream_saw(0);
}

/// Before the kill the file with the intents was moved, removed or truncated.
#[test]
fn calls_that_were_under_way_when_their_file_was_left_are_closed_in_the_one_that_took_its_place() {
    let moved_with_signal = |proxy: &Proxy, log: &Path| {
        fs::rename(log, log.with_extension("1")).unwrap();
        proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
    };
    let moved_without = |proxy: &Proxy, log: &Path| {
        fs::rename(log, log.with_extension("1")).unwrap();
        proxy.logged("the audit file was moved without SIGHUP: reopened");
    };
    let removed = |proxy: &Proxy, log: &Path| {
        fs::remove_file(log).unwrap();
        proxy.logged("the audit file was removed: created a new one");
    };
    let copied_and_truncated = |_: &Proxy, log: &Path| {
        fs::copy(log, log.with_extension("1")).unwrap();
        fs::File::options().write(true).open(log).unwrap().set_len(0).unwrap();
    };
    type Leave = fn(&Proxy, &Path);
    let ways: [Leave; 4] = [moved_with_signal, moved_without, removed, copied_and_truncated];
    for (way, leave) in ways.into_iter().enumerate() {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("audit.log");
        let setup = Setup::new().section("upstream: { attempt_timeout: 60s }").section(PATIENT);
        let mut proxy = announcing(setup, &log).start().records_elsewhere();
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        proxy.cloud().set_faults([Fault::LatencyMs(60_000).until_cleared()]);
        let mut wires: Vec<_> = (0..UNDER_WAY).map(|_| proxy.connect()).collect();
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.write(cancel(&format!("under-way-{number}")));
        }
        wait_for("requests upstream", || (proxy.cloud().requests().len() == UNDER_WAY + 1).then_some(()));
        let announced = ids(&of(&log, "intent"), "under-way");
        assert_eq!(announced.len(), UNDER_WAY);
        leave(&proxy, &log);
        let again = wait_for("intents in the new file", || {
            Some(of(&log, "intent")).filter(|intents| intents.len() == UNDER_WAY)
        });
        assert_eq!(ids(&again, ""), announced, "way {way}: those that are under way, and no others");
        proxy.signal(Signal::SIGKILL);
        proxy.ended();
        drop(announcing(Setup::new(), &log).start().records_elsewhere());
        assert_eq!(all_are_closed(&log), UNDER_WAY, "way {way}");
        let closed: Vec<Record> = of(&log, "request");
        assert_eq!(ids(&closed, "under-way"), announced, "way {way}");
        drop(announcing(Setup::new(), &log).start().records_elsewhere());
        assert_eq!(of(&log, "request").len(), closed.len(), "way {way}: once");
    }
}

#[test]
fn rotated_again_and_again_under_load_and_then_killed_every_intent_is_closed_once() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("audit.log");
    let mut proxy = announcing(Setup::new(), &log).start().records_elsewhere();
    proxy.cloud().set_faults([Fault::LatencyMs(5).until_cleared()]);
    let next = AtomicUsize::new(0);
    let streams: Vec<TcpStream> =
        (0..CALLERS).map(|_| TcpStream::connect(proxy.address("app")).unwrap()).collect();
    let mut files: Vec<_> = (0..ROTATIONS).map(|number| log.with_extension(number.to_string())).collect();
    thread::scope(|scope| {
        for stream in streams {
            scope.spawn(|| call_until_it_ends(stream, 0, &next));
        }
        for (done, moved) in files.iter().enumerate() {
            wait_for("records", || (!of(&log, "request").is_empty()).then_some(()));
            fs::rename(&log, moved).unwrap();
            proxy.signal(Signal::SIGHUP);
            wait_for("rotation", || {
                (proxy.log().matches("audit sink reopened").count() > done).then_some(())
            });
        }
        proxy.signal(Signal::SIGKILL);
    });
    proxy.ended();
    drop(announcing(Setup::new(), &log).start().records_elsewhere());
    files.push(log);
    let all = |event: &str| -> Vec<Record> { files.iter().flat_map(|file| of(file, event)).collect() };
    let (intents, records) = (all("intent"), all("request"));
    assert_eq!(ids(&intents, ""), ids(&records, ""));
    assert_eq!(records.len(), ids(&records, "").len(), "once");
    let interrupted = records.iter().filter(|record| record["error.type"] == "PROXY.Interrupted").count();
    eprintln!("{} calls, {interrupted} of them under way", records.len());
}

#[test]
fn a_call_is_announced_once_before_its_record_and_a_refused_one_is_not() {
    let proxy = Setup::new().section("audit: { write_ahead: true }").start();
    let done = proxy.send(cancel("100211"));
    proxy.expect_records(1);
    proxy.send(cancel("a.b")).is_refusal(400, "PROXY.BadRequest");
    proxy.send(request("DELETE", "/v2/elsewhere/editing/jobs/1", &[])).is_refusal(403, "PROXY.Forbidden");
    let lines = proxy.audit(4);
    assert_eq!(lines.len(), 4);
    lines[0].says(json!({ "event": "intent", "request.id": done.header("proxy-request-id") }));
    lines[1].says(json!({
        "event": "request", "request.id": done.header("proxy-request-id"), "outcome": "forwarded",
        "upstream.attempts": 1,
    }));
    lines[2..].iter().for_each(|line| line.says(json!({ "event": "request", "outcome": "refused" })));
    proxy.upstream_saw(1);
}

#[test]
fn a_call_that_is_sent_again_is_announced_once() {
    // Each connection answers once and dies under its second request.
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        peer.request();
    });
    let proxy =
        Setup::new().on_one_core().upstream(&upstream.url()).section("audit: { write_ahead: true }").start();
    for _ in 0..2 {
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        proxy.expect_records(1);
    }
    let lines = proxy.audit(4);
    let events: Vec<&str> = lines.iter().map(|line| line.text("event")).collect();
    assert_eq!(events, ["intent", "request", "intent", "request"]);
    lines[3].says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
    upstream.saw(3);
}

#[test]
fn what_cannot_be_announced_is_not_sent() {
    let proxy =
        Setup::new().section("audit: { sink: /dev/full, write_ahead: true }").start().records_elsewhere();
    for _ in 0..3 {
        proxy.send(cancel("100211")).refused(503, "PROXY.AuditBlocked");
    }
    proxy.upstream_saw(0);
}

fn announcing(setup: Setup, log: &Path) -> Setup {
    setup.section(&format!("audit: {{ sink: {}, write_ahead: true }}", log.display()))
}

/// Runs many callers until upstream has seen some of their calls, then sends SIGKILL. In every other round it reloads
/// the configuration and reopens its file meanwhile.
fn kill_under_load(proxy: &Proxy, round: usize) {
    let (address, next) = (proxy.address("app").to_owned(), AtomicUsize::new(0));
    let enough = fastrand::usize(20..200);
    let over = AtomicBool::new(false);
    // All are there before the first calls, however busy the machine is.
    let callers: Vec<TcpStream> = (0..CALLERS).map(|_| TcpStream::connect(&address).unwrap()).collect();
    thread::scope(|scope| {
        if round % 2 == 1 {
            scope.spawn(|| reload_until(&over, proxy));
        }
        let next = &next;
        for stream in callers {
            scope.spawn(move || call_until_it_ends(stream, round, next));
        }
        wait_for("requests upstream", || (proxy.cloud().requests().len() >= enough).then_some(()));
        if round % 2 == 1 {
            proxy.logged("configuration reloaded");
        }
        proxy.signal(Signal::SIGKILL);
        over.store(true, Relaxed);
    });
}

fn call_until_it_ends(mut stream: TcpStream, round: usize, next: &AtomicUsize) {
    let mut answer = [0; 4096];
    loop {
        let job = format!("r{round}-{}", next.fetch_add(1, Relaxed));
        let asked = stream.write_all(cancel(&job).as_bytes());
        if asked.is_err() || stream.read(&mut answer).map_or(true, |length| length == 0) {
            return;
        }
    }
}

fn reload_until(over: &AtomicBool, proxy: &Proxy) {
    let text = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    let end = Instant::now() + BOUND;
    for round in 0.. {
        if over.load(Relaxed) || Instant::now() > end {
            return;
        }
        proxy.write("policy.yaml", &format!("{text}# {round}\n"));
        proxy.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Fails if an intent has no record, or two. Returns the number of records written by a later process.
fn all_are_closed(log: &Path) -> usize {
    let mut records: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in of(log, "request") {
        records.entry(record.text("request.id").into()).or_default().push(record["error.type"].clone());
    }
    let intents = of(log, "intent");
    let kinds =
        intents.iter().map(|intent| match records.get(intent.text("request.id")).map(Vec::as_slice) {
            Some([one]) => one == "PROXY.Interrupted",
            others => panic!("{others:?} for {intent:#?}"),
        });
    kinds.filter(|interrupted| *interrupted).count()
}

/// The lines of this event, without one cut off by the kill.
fn of(log: &Path, event: &str) -> Vec<Record> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok());
    whole.map(Record::parse).filter(|record| record["event"] == event).collect()
}

/// The request ids of calls whose job has this prefix.
fn ids(records: &[Record], job: &str) -> BTreeSet<String> {
    let of_job = records.iter().filter(|record| record.text("mpc.job_id").starts_with(job));
    of_job.map(|record| record.text("request.id").to_owned()).collect()
}

/// The number that may be unanswered at first.
const UNDER_WAY: usize = 3;
const PATIENT: &str = "limits: { request_deadline: 60s }";
const ROTATIONS: usize = 10;
const CALLERS: usize = 32;
const A_FILE: usize = 20;
