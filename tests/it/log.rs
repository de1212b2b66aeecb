//! A log that nobody reads blocks nothing, and reports the lost lines once somebody reads again.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Output, Stdio},
    thread::{self, sleep},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Authority, Process, Setup, Wanted, cancel, is_in_words, request, small_pipe, wait_for};

#[test]
fn a_log_that_nobody_reads_holds_up_nothing_and_tells_what_it_lost() {
    let (reader, writer) = small_pipe();
    let proxy = Process::start(Setup::new(), Stdio::null(), writer);
    freeze_and_thaw(&proxy, TOGGLES);
    // Far more lines than the pipe and the queue take.
    assert_eq!(proxy.ask("proxy.sock", &cancel("100211")).status, 204);
    let mut log = BufReader::new(reader).lines().map(|line| line.unwrap());
    let mut read = Vec::new();
    let lost = loop {
        let line: Value = serde_json::from_str(&log.next().expect("it tells what it lost")).unwrap();
        if line["message"] == "log lines were lost: the reader is stuck" {
            break line["lines"].as_u64().unwrap() as usize;
        }
        read.push(line);
    };
    let toggles = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| line["message"].as_str().unwrap().contains("frozen by an operator"))
            .count()
    };
    assert!(lost > 0 && toggles(&read) > 0);
    assert_eq!(toggles(&read) + lost, TOGGLES, "what was not lost was read");
    proxy.signal(Signal::SIGTERM);
    let rest: Vec<String> = log.collect();
    assert!(rest.last().unwrap().contains("\"message\":\"stopped\""), "the last line comes out: {rest:#?}");
    assert_eq!(proxy.upstream_saw().len(), 1);
}

#[test]
fn records_and_log_in_one_pipe_that_nobody_reads_do_not_wait_for_each_other() {
    let (reader, writer) = small_pipe();
    let setup = Setup::new().section("drain: { timeout: 1s }");
    let mut proxy = Process::start(setup, writer.try_clone().unwrap(), writer);
    thread::scope(|scope| {
        scope.spawn(|| freeze_and_thaw(&proxy, 100));
        for _ in 0..3 {
            assert_ne!(proxy.ask("proxy.sock", &cancel("none")).status, 0, "an answer");
        }
    });
    proxy.ask("proxy.sock", &cancel("100211")).is_refusal(503, "PROXY.AuditBlocked");
    // 3 if log lines took the space of a record, which is then lost.
    assert!([Some(0), Some(3)].contains(&proxy.stop()));
    drop(reader);
}

#[test]
fn a_log_that_is_never_read_does_not_keep_it_from_ending() {
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), Stdio::null(), writer);
    freeze_and_thaw(&proxy, TOGGLES);
    assert_eq!(proxy.stop(), Some(0));
    drop(reader);
}

#[test]
fn a_log_that_was_closed_neither_ends_it_nor_keeps_it_busy() {
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(Setup::new(), Stdio::null(), writer);
    drop(reader);
    freeze_and_thaw(&proxy, 10);
    assert_eq!(proxy.ask("proxy.sock", &cancel("100211")).status, 204);
    let before = ticks(&proxy);
    sleep(Duration::from_millis(500));
    let worked = ticks(&proxy) - before;
    assert!(worked < 20, "it worked for {worked} ticks of 10 ms with nothing to do");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn the_last_line_comes_out_before_the_end() {
    let mut proxy = Setup::new().start();
    assert_eq!(proxy.stop(), Some(0));
    assert!(proxy.log().lines().last().unwrap().contains("\"message\":\"stopped\""), "{}", proxy.log());
}

#[test]
fn handshakes_that_strangers_break_are_a_few_lines_and_a_number_and_hide_nothing_else() {
    let authority = Authority::new();
    let server = authority.issue(Wanted::server());
    let mut proxy = Setup::new()
        .listeners(&["{ name: app, bind: 127.0.0.1:0, tls: { certificate: tls.crt, key: tls.key, client_ca: ca.crt } }"])
        .file("tls.crt", &server.certificate_pem)
        .file("tls.key", &server.key_pem)
        .file("ca.crt", &authority.pem())
        .start();
    let address = proxy.address("app").to_owned();
    let breaks = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        drop(stream.write_all(bytes));
        drop(stream.read_to_end(&mut Vec::new()));
    };
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| (0..BROKEN / CALLERS).for_each(|_| breaks(b"GET / HTTP/1.1\r\n\r\n")));
        }
    });
    // A rare one of another kind: a ClientHello that holds nothing.
    breaks(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
    let counted = wait_for("count of all", || {
        let metrics = proxy.probe("/metrics").body;
        let of = metrics.lines().filter(|line| line.contains("tls_handshake_failures_total{"));
        let counted: f64 = of.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        (counted as usize > BROKEN).then_some(counted as usize)
    });
    assert_eq!(counted, BROKEN + 1);
    assert_eq!(proxy.stop(), Some(0));
    let log = proxy.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("TLS handshake failed"))
        .collect();
    let more: usize = failed.iter().filter_map(|line| line["more"].as_u64()).sum::<u64>() as usize;
    let single = failed.iter().filter(|line| line["more"].is_null()).count();
    assert_eq!(single + more, BROKEN + 1, "each is a line or counted: {failed:#?}");
    assert!(failed.len() < 50, "{failed:#?}");
    let errors: BTreeSet<&str> = failed.iter().filter_map(|line| line["error"].as_str()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
}

/// A log collector can parse the output even of a proxy that does not start.
#[test]
fn what_keeps_it_from_starting_is_told_as_the_log_is_written() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("{{ name: app, bind: '{}' }}", taken.local_addr().unwrap());
    let cases = [
        (Setup::new().project("colour: red"), 78, "unknown key `colour`"),
        (Setup::new().policy("version: 1\ncallers: [\n"), 78, ""),
        (Setup::new().listeners(&[&listener]), 4, "cannot listen on"),
        (
            Setup::new().section("audit: { sink: /proc/nothing }"),
            1,
            "cannot open the audit file /proc/nothing",
        ),
    ];
    for (setup, code, message) in cases {
        for (format, is_json) in [("auto", true), ("json", true), ("text", false)] {
            // From a file that is otherwise wrong.
            let output = setup.run(&format!("run --log-format {format}"));
            told(&output, (code, message), is_json);
        }
    }
    for (format, is_json) in [("json", true), ("text", false)] {
        let setup = Setup::new().project("colour: red").section(&format!("log: {{ format: {format} }}"));
        told(&setup.run("run"), (78, "unknown key `colour`"), is_json);
    }
}

fn told(output: &Output, (code, message): (i32, &str), is_json: bool) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    is_in_words(&text);
    assert!(text.contains(message), "{text}");
    let mut is_error = false;
    for line in text.lines() {
        let level = match is_json {
            true => {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
                line["level"].as_str().unwrap().to_owned()
            }
            false => {
                let (timestamp, rest) = line.split_once(' ').unwrap();
                assert!(timestamp.ends_with('Z') && timestamp.starts_with("20"), "{line}");
                rest.trim_start().split(' ').next().unwrap().to_owned()
            }
        };
        is_error |= level == "ERROR";
    }
    assert!(is_error, "{text}");
}

/// Each is a line in the log.
fn freeze_and_thaw(proxy: &Process, times: usize) {
    for n in 0..times {
        let method = if n % 2 == 0 { "PUT" } else { "DELETE" };
        assert_eq!(proxy.ask("admin.sock", &request(method, "/freeze", &[])).status, 200);
    }
}

/// Its CPU time so far, in user and system mode.
fn ticks(proxy: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", proxy.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

const TOGGLES: usize = 4000;
const BROKEN: usize = 2000;
const CALLERS: usize = 4;
