//! Audit records: one line per request with the fields of the contract, and no call if there is no room for its record.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    process::Stdio,
};

use mpc_auth_proxy::testserver::Fault;
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::json;

use crate::harness::{ACCESS_KEY, Process, Record, Setup, cancel, request, small_pipe, wait_for};

#[test]
fn every_record_has_the_fields_of_the_contract_in_their_order() {
    let proxy = Setup::new().start();
    let answers = [
        proxy.send(cancel("100211")),
        proxy.send(cancel("none")),
        proxy.send(cancel("a.b")),
        proxy.send("nonsense\r\n\r\n"),
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [204, 403, 400, 400]);
    for answer in &answers {
        let record = proxy.record(answer);
        let always = record.fields().filter(|field| !WHERE_THERE_IS_ONE.contains(field));
        assert_eq!(always.collect::<Vec<_>>(), FIELDS.split_whitespace().collect::<Vec<_>>());
        record.says(json!({
            "event": "request", "listener": "app", "http.response.status_code": answer.status,
            "request.id": answer.header("proxy-request-id"),
        }));
        let time = record.text("timestamp");
        assert!(time.len() == "2026-01-15T08:30:00.123Z".len() && time.ends_with('Z'), "{time}");
        assert!(record["duration_ms"].as_f64().unwrap() > 0.0);
    }
    proxy
        .record(&answers[0])
        .says(json!({ "credential.name": "prod", "credential.key_hint": &ACCESS_KEY[..4] }));
    proxy
        .record(&answers[3])
        .says(json!({ "http.request.method": null, "http.route": null, "mpc.job_id": null }));
    proxy.upstream_saw(2);
}

#[test]
fn nothing_a_caller_sends_forges_a_line() {
    let proxy = Setup::new().start();
    let forged = "\u{2028}{\"event\":\"request\",\"request.id\":\"forged\"}";
    for bytes in [
        request("DELETE", &format!("/v2/media-prod/editing/jobs/{forged}"), &[]),
        request("DELETE", "/v2/media-prod/editing/jobs/100211", &[&format!("X-A: {forged}")]),
        request("DELETE", "/v2/media-prod/editing/jobs/x", &["traceparent: \"}\\n{\"event\":\"request\""]),
    ] {
        let answer = proxy.send(bytes);
        proxy.record(&answer);
    }
    assert!(!proxy.printed().contains("forged"), "{}", proxy.printed());
    proxy.upstream_saw(2);
}

#[test]
fn a_file_takes_the_records_and_is_opened_anew_on_sighup() {
    let proxy = Setup::new().section("audit: { sink: audit.log }").start().records_elsewhere();
    let (log, rotated) = (proxy.path("audit.log"), proxy.path("audit.log.1"));
    let first = proxy.send(cancel("100211")).with_status(204);
    wait_for("first record", || (records(&log).len() == 1).then_some(()));
    fs::rename(&log, &rotated).unwrap();
    let second = proxy.send(cancel("none"));
    wait_for("second record", || (records(&rotated).len() == 2).then_some(()));
    proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
    let third = proxy.send(cancel("none"));
    wait_for("third record", || (records(&log).len() == 1).then_some(()));
    for (file, line, answer) in [(&rotated, 0, first), (&rotated, 1, second), (&log, 0, third)] {
        records(file)[line].says(json!({ "request.id": answer.header("proxy-request-id") }));
    }
    assert_eq!((records(&rotated).len(), proxy.printed()), (2, String::new()));
    proxy.upstream_saw(3);
}

#[test]
fn a_full_device_refuses_every_call_also_the_first() {
    let proxy = Setup::new().section("audit: { sink: /dev/full }").start().records_elsewhere();
    assert_eq!(proxy.probe("/readyz").status, 503, "it is known before anybody calls");
    for _ in 0..20 {
        let answer = proxy.send(cancel("100211")).refused(503, "PROXY.AuditBlocked");
        assert_eq!(answer.header("retry-after"), "1");
    }
    proxy.upstream_saw(0);
    let metrics = proxy.probe("/metrics").body;
    let refused = "mpc_auth_proxy_requests_total{listener=\"app\",caller=\"_unknown\",action=\"_unknown\",\
        outcome=\"refused\",code=\"503\"} 20\n";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn when_there_is_room_again_calls_go_on_and_no_record_is_missing() {
    let setup = Setup::new().section("audit: { sink: audit.log }");
    let log = setup.path("audit.log");
    symlink("/dev/full", &log).unwrap();
    let proxy = setup.start().records_elsewhere();
    for _ in 0..2 {
        proxy.send(cancel("100211")).is_refusal(503, "PROXY.AuditBlocked");
    }
    fs::remove_file(&log).unwrap();
    proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
    let answer = proxy.send(cancel("none")).with_status(403);
    let records = wait_for("all records", || Some(records(&log)).filter(|records| records.len() == 3));
    let statuses: Vec<_> = records.iter().map(|r| r["http.response.status_code"].clone()).collect();
    assert_eq!(statuses, [503, 503, 403]);
    records[2].says(json!({ "request.id": answer.header("proxy-request-id") }));
    proxy.upstream_saw_one();
}

#[test]
fn when_told_to_drop_records_calls_go_on() {
    let proxy =
        Setup::new().section("audit: { sink: /dev/full, when_blocked: drop }").start().records_elsewhere();
    for _ in 0..5 {
        proxy.queue("100211");
        assert_eq!(proxy.send(cancel("100211")).status, 204);
    }
    proxy.upstream_saw(5);
}

#[test]
fn a_request_that_the_end_of_the_process_cuts_is_recorded() {
    let mut proxy = Setup::new().section("drain: { timeout: 100ms }").start();
    proxy.cloud().set_faults([Fault::LatencyMs(60_000).until_cleared()]);
    let wire = proxy.sending(cancel("100211"));
    wait_for("request upstream", || (proxy.cloud().requests().len() == 1).then_some(()));
    assert_eq!(proxy.stop(), Some(3));
    wire.closed();
    let records = proxy.audit(1);
    assert_eq!(records.len(), 1);
    records[0].says(json!({
        "mpc.job_id": "100211", "http.response.status_code": null, "outcome": "unknown",
        "upstream.attempts": 1, "upstream.status_code": null, "credential.name": "prod",
    }));
}

#[test]
fn a_reader_that_does_not_read_refuses_calls_until_it_does() {
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), writer, Stdio::null());
    let ask = || proxy.ask("proxy.sock", &cancel("none")).status;
    let mut answers = Vec::new();
    while !answers.ends_with(&[503, 503]) {
        assert!(answers.len() < 20, "a pipe is finite: {answers:?}");
        answers.push(ask());
    }
    let sent = answers.iter().filter(|status| **status == 403).count();
    assert_eq!((sent, proxy.upstream_saw().len()), (answers.len() - 2, sent), "{answers:?}");
    let lines = BufReader::new(reader).lines().map(|line| Record::parse(&line.unwrap()));
    let reading = std::thread::spawn(|| lines.collect::<Vec<_>>());
    wait_for("an answer of upstream", || {
        answers.push(ask());
        (answers.last() == Some(&403)).then_some(())
    });
    assert_eq!(proxy.stop(), Some(0));
    let records = reading.join().unwrap();
    let statuses = records.iter().map(|record| record["http.response.status_code"].as_u64().unwrap());
    assert!(statuses.eq(answers.iter().map(|status| u64::from(*status))), "one each, in order: {records:#?}");
}

#[test]
fn records_that_found_no_room_are_written_when_there_is_some_and_nobody_calls() {
    let (reader, writer) = small_pipe();
    let proxy = Process::start(Setup::new(), writer, Stdio::null());
    // All begin before the first ends, and the pipe takes a few records.
    proxy.slow_down(Fault::LatencyMs(500));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(proxy.ask("proxy.sock", &cancel("none")).status, 403));
        }
    });
    let mut lines = BufReader::new(reader).lines();
    let records: Vec<Record> = (0..16).map(|_| Record::parse(&lines.next().unwrap().unwrap())).collect();
    assert!(records.iter().all(|record| record["http.response.status_code"] == 403), "{records:#?}");
}

#[test]
fn a_reader_that_went_away_refuses_every_call() {
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), writer, Stdio::null());
    drop(reader);
    for _ in 0..3 {
        proxy.ask("proxy.sock", &cancel("100211")).is_refusal(503, "PROXY.AuditBlocked");
    }
    assert_eq!((proxy.upstream_saw().len(), proxy.stop()), (0, Some(3)));
}

#[test]
fn a_named_pipe_that_nobody_reads_is_told_at_the_start() {
    let setup = Setup::new().section("audit: { sink: audit.pipe }");
    mkfifo(&setup.path("audit.pipe"), Mode::S_IRWXU).unwrap();
    let output = setup.run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot open the audit file") && error.contains("audit.pipe"), "{error}");
}

fn records(file: &std::path::Path) -> Vec<Record> {
    fs::read_to_string(file).unwrap_or_default().lines().map(Record::parse).collect()
}

const WHERE_THERE_IS_ONE: [&str; 6] =
    ["caller.presented", "url.path", "server.address", "policy.reason", "error.reason", "error.message"];
const FIELDS: &str = "event timestamp request.id caller.id caller.identified_by network.peer.address listener
    http.request.method http.route http.response.status_code mpc.action mpc.project_id mpc.job_id policy.effect
    policy.rule policy.location policy.hash policy.mode credential.name credential.key_hint upstream.attempts
    upstream.status_code upstream.request_id upstream.error_code outcome error.type duration_ms
    upstream.duration_ms trace_id";
