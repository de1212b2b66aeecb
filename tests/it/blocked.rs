//! A stuck sink while calls are in flight: every executed call has its record, whatever else floods the sink; the problem
//! is reported, and everything waiting is written as soon as it is over.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Held, Mount, Process, Record, Setup, cancel, request, small_pipe, wait_for};

#[test]
fn calls_under_way_have_their_records_though_a_flood_meets_a_pipe_that_nobody_reads() {
    let held = held();
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(patient(Setup::new(), &held), writer, Stdio::null());
    thread::scope(|scope| {
        let calls = ["answered", "cut"].map(|job| {
            let proxy = &proxy;
            scope.spawn(move || proxy.ask("proxy.sock", &cancel(job)))
        });
        proxy.dial("proxy.sock").write(cancel("left"));
        held.has(3);
        let refused = flood(&proxy, FLOOD);
        assert!(audit(&proxy)["dropped"].as_u64().unwrap() > 0, "more were refused than may wait: {refused}");
        held.let_go();
        let statuses = calls.map(|call| call.join().unwrap().status);
        assert_eq!(statuses, [204, 502], "what was under way acts");
        let (lines, reading) = lines_of(reader);
        let told = refused - audit(&proxy)["dropped"].as_u64().unwrap();
        wait_for("all lines that waited", || {
            (count(&lines, |record| record["http.response.status_code"] == 503) == told).then_some(())
        });
        let records = lines.lock().unwrap();
        let outcomes: BTreeMap<&str, &str> = records
            .iter()
            .filter(|record| record["upstream.attempts"] != 0)
            .map(|record| (record.text("mpc.job_id"), record.text("outcome")))
            .collect();
        assert_eq!(outcomes, [("answered", "forwarded"), ("cut", "unknown"), ("left", "forwarded")].into());
        drop(records);
        wait_for("a call to go on", || (proxy.ask("proxy.sock", DENIED).status == 403).then_some(()));
        assert_eq!(audit(&proxy)["blocked"], Value::Null);
        proxy.signal(Signal::SIGTERM);
        reading.join().unwrap();
    });
    assert_eq!(proxy.ended(), Some(0));
}

#[test]
fn on_a_full_disk_a_call_under_way_writes_its_record_into_the_room_that_was_kept_for_it() {
    let Some(mount) = Mount::of_kib(256) else { return };
    for write_ahead in [false, true] {
        let held = held();
        let name = format!("audit-{write_ahead}.log");
        let sink = mount.inside(&name).display().to_string();
        let section = format!("audit: {{ sink: {sink}, write_ahead: {write_ahead} }}");
        let proxy =
            mount.shown_to(patient(Setup::new(), &held).section(&section)).start().records_elsewhere();
        let records = || records(&mount.outside(&name));
        thread::scope(|scope| {
            let call = scope.spawn(|| proxy.send(cancel("answered")));
            held.has(1);
            mount.fill();
            for _ in 0..50 {
                proxy.send(DENIED).is_refusal(503, "PROXY.AuditBlocked");
            }
            held.let_go();
            assert_eq!(call.join().unwrap().status, 204);
        });
        let written = wait_for("record of the call", || {
            records().into_iter().find(|record| record["event"] == "request")
        });
        written.says(json!({ "mpc.job_id": "answered", "outcome": "forwarded" }));
        // It is reported with its name and the system's error.
        let line = proxy.logged("the audit sink is blocked: calls are refused until it accepts records");
        assert_eq!((&line["path"], &line["error"]), (&json!(sink), &json!(NO_SPACE)));
        let blocked = proxy.probe("/status").json()["audit"].clone();
        assert_eq!((&blocked["sink"], &blocked["blocked"]["error"]), (&json!(sink), &json!(NO_SPACE)));
        assert_eq!(blocked["blocked"]["refused"], 50);
        let ready = proxy.probe("/readyz").with_status(503);
        assert!(ready.body.contains("[-] audit: the sink is blocked"), "{}", ready.body);
        // And so is its end, even without calls.
        mount.empty();
        let line = proxy.logged("the audit sink accepts records again");
        assert_eq!(
            (&line["path"], &line["refused"], &line["dropped"]),
            (&json!(sink), &json!(50), &json!(0))
        );
        wait_for("ready", || (proxy.probe("/readyz").status == 200).then_some(()));
        let statuses: Vec<Value> = records()
            .iter()
            .filter(|record| record["event"] == "request")
            .map(|record| record["http.response.status_code"].clone())
            .collect();
        assert_eq!(statuses, [&[json!(204)][..], &vec![json!(503); 50]].concat());
        assert_eq!(proxy.log().matches("the audit sink is blocked").count(), 1, "said once: {}", proxy.log());
    }
}

#[test]
fn a_record_that_a_limit_keeps_out_of_the_file_waits_until_it_is_lifted() {
    let held = held();
    let setup = patient(Setup::new(), &held).section("audit: { sink: audit.log }");
    let proxy = setup.start().records_elsewhere();
    let log = proxy.path("audit.log");
    thread::scope(|scope| {
        let call = scope.spawn(|| proxy.send(cancel("answered")));
        held.has(1);
        proxy.limit_file_size(0);
        held.let_go();
        assert_eq!(call.join().unwrap().status, 204);
    });
    for _ in 0..20 {
        proxy.send(DENIED).is_refusal(503, "PROXY.AuditBlocked");
    }
    assert_eq!(records(&log).len(), 0);
    proxy.limit_file_size(1 << 30);
    let records = wait_for("all records", || Some(records(&log)).filter(|records| records.len() == 21));
    records[0].says(json!({ "mpc.job_id": "answered", "http.response.status_code": 204 }));
}

#[test]
fn a_flood_into_a_stuck_pipe_is_refused_at_once_and_not_each_call_in_its_turn() {
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), writer, Stdio::null());
    let started = Instant::now();
    flood(&proxy, 400);
    let took = started.elapsed();
    // Half a second for each, some of them at once, would be 50.
    assert!(took < Duration::from_secs(15), "{took:?}");
    drop(reader);
    assert_eq!(proxy.stop(), Some(3), "what nobody read is lost");
}

#[test]
fn what_waits_at_the_stop_is_written_within_the_drain_timeout() {
    let held = held();
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(patient(Setup::new(), &held), writer, Stdio::null());
    thread::scope(|scope| {
        let call = scope.spawn(|| proxy.ask("proxy.sock", &cancel("answered")));
        held.has(1);
        flood(&proxy, 20);
        held.let_go();
        assert_eq!(call.join().unwrap().status, 204);
    });
    proxy.signal(Signal::SIGTERM);
    wait_for("refusal of new connections", || proxy.is_gone("proxy.sock").then_some(()));
    let (lines, reading) = lines_of(reader);
    assert_eq!(proxy.ended(), Some(0));
    reading.join().unwrap();
    assert_eq!(count(&lines, |record| record["mpc.job_id"] == "answered"), 1);
    assert_eq!(count(&lines, |record| record["http.response.status_code"] == 503), 20);
}

#[test]
fn what_cannot_be_written_at_the_stop_is_said_and_stands_in_the_log() {
    let held = held();
    let setup = patient(Setup::new(), &held).section("drain: { timeout: 200ms }");
    let log = setup.path("log");
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(setup, writer, File::create(&log).unwrap());
    thread::scope(|scope| {
        let calls = ["answered", "answered-too"].map(|job| {
            let proxy = &proxy;
            scope.spawn(move || proxy.ask("proxy.sock", &cancel(job)))
        });
        held.has(2);
        flood(&proxy, 20);
        held.let_go();
        assert!(calls.into_iter().all(|call| call.join().unwrap().status == 204));
    });
    assert_eq!(proxy.stop(), Some(3), "drain timed out");
    drop(reader);
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lost = lines.iter().find(|line| line["message"] == LOST);
    let lost = lost.unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&lost["path"], &lost["error"]), (&json!("stdout"), &json!("its reader is stuck")));
    assert_eq!((&lost["calls"], &lost["records"]), (&json!(2), &json!(22)));
    let records: Vec<Record> =
        lines.iter().filter_map(|line| line["record"].as_str()).map(Record::parse).collect();
    let jobs: Vec<&str> = records.iter().map(|record| record.text("mpc.job_id")).collect();
    assert!(jobs.len() == 2 && jobs.contains(&"answered") && jobs.contains(&"answered-too"), "{jobs:?}");
}

#[test]
fn a_pipe_that_is_read_again_takes_what_waits_at_once_and_calls_go_on() {
    let (mut reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), writer, Stdio::null());
    let refused = flood(&proxy, WAITING);
    assert_eq!(audit(&proxy)["dropped"], 0);
    let (began, mut reads, mut lines) = (Instant::now(), 0, 0);
    let mut page = [0; 4096];
    while lines < refused {
        let length = reader.read(&mut page).unwrap();
        (reads, lines) =
            (reads + 1, lines + page[..length].iter().filter(|byte| **byte == b'\n').count() as u64);
    }
    let took = began.elapsed();
    eprintln!("{lines} lines in {reads} parts in {took:?}");
    assert!(reads * 3 < lines, "{lines} lines came in {reads} parts");
    // At one line in two milliseconds it would be 6 s.
    assert!(took < Duration::from_secs(3), "{lines} lines took {took:?}");
    let reading = thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    wait_for("a call to go on", || (proxy.ask("proxy.sock", DENIED).status == 403).then_some(()));
    assert_eq!(proxy.stop(), Some(0));
    reading.join().unwrap();
}

#[test]
fn at_the_stop_a_reader_that_reads_slowly_gets_all_lines() {
    let (mut reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), writer, Stdio::null());
    let refused = flood(&proxy, WAITING);
    proxy.signal(Signal::SIGTERM);
    // Longer than a stuck reader is given.
    let (mut text, mut page) = (Vec::new(), [0; 4096]);
    loop {
        thread::sleep(Duration::from_millis(8));
        match reader.read(&mut page).unwrap() {
            0 => break,
            length => text.extend_from_slice(&page[..length]),
        }
    }
    assert_eq!(proxy.ended(), Some(0));
    let text = String::from_utf8(text).unwrap();
    let refusals = text.lines().map(Record::parse).filter(|line| line["http.response.status_code"] == 503);
    assert_eq!(refusals.count() as u64, refused);
}

#[test]
fn lines_of_refused_calls_that_nobody_reads_keep_it_for_a_moment_only_and_their_loss_is_an_exit_code() {
    let setup = Setup::new();
    let log = setup.path("log");
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(setup, writer, File::create(&log).unwrap());
    flood(&proxy, 20);
    let began = Instant::now();
    assert_eq!(proxy.stop(), Some(3));
    // The drain time-out is 25 s.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(reader);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("stopped before all calls were recorded"), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lost: Vec<Value> = lines.filter(|line| line["message"] == LOST).collect();
    assert_eq!((&lost[0]["calls"], &lost[0]["records"]), (&json!(0), &json!(20)));
}

/// An upstream that holds every call until released. `cut` then gets no answer, the others 204.
fn held() -> Held {
    Held::answering(|head| match head.contains("/cut ") {
        true => String::new(),
        false => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into(),
    })
}

/// A proxy in front of it whose calls may take as long as the flood.
pub(crate) fn patient(setup: Setup, held: &Held) -> Setup {
    setup
        .upstream(&held.url())
        .section("upstream: { attempt_timeout: 120s }")
        .section("limits: { request_deadline: 120s }")
}

/// Sends calls that the policy denies until enough were refused because the sink is stuck. Returns their number.
pub(crate) fn flood(proxy: &Process, refusals: u64) -> u64 {
    while proxy.ask("proxy.sock", DENIED).status != 503 {}
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let mut left = (refusals - 1) / CALLERS + u64::from(caller < (refusals - 1) % CALLERS);
            scope.spawn(move || {
                while left > 0 {
                    let batch = left.min(PIPELINED);
                    let mut wire = proxy.dial("proxy.sock");
                    wire.write(DENIED.repeat(batch as usize));
                    (0..batch).for_each(|_| wire.answer().is_refusal(503, "PROXY.AuditBlocked"));
                    left -= batch;
                }
            });
        }
    });
    refusals
}

fn audit(proxy: &Process) -> Value {
    proxy.ask("admin.sock", &request("GET", "/status", &[])).json()["audit"].clone()
}

type Lines = Arc<Mutex<Vec<Record>>>;

/// Reads lines as they come, to the end.
fn lines_of(reader: impl Read + Send + 'static) -> (Lines, thread::JoinHandle<()>) {
    let lines = Lines::default();
    let read = Arc::clone(&lines);
    let reading = thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            read.lock().unwrap().push(Record::parse(&line.unwrap()));
        }
    });
    (lines, reading)
}

fn count(lines: &Lines, which: impl Fn(&Record) -> bool) -> u64 {
    lines.lock().unwrap().iter().filter(|record| which(record)).count() as u64
}

fn records(log: &std::path::Path) -> Vec<Record> {
    fs::read_to_string(log).unwrap().lines().map(Record::parse).collect()
}

pub(crate) const DENIED: &str = "DELETE /v2/elsewhere/editing/jobs/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
const NO_SPACE: &str = "No space left on device (os error 28)";
const LOST: &str = "cannot write records: they are lost";
/// At most the number that may wait.
const WAITING: u64 = 3_000;
/// More than the number that may wait.
const FLOOD: u64 = 4_300;
const PIPELINED: u64 = 8;
const CALLERS: u64 = 4;
