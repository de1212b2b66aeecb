//! Changes to the audit file: truncated, removed, moved away, shared with another proxy, or missing because standard output
//! is closed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Seek},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Mount, Process, Proxy, Record, Setup, cancel, wait_for};

#[test]
fn a_file_that_is_truncated_while_its_disk_fills_up_lets_no_call_act() {
    // More than is preallocated.
    let Some(mount) = Mount::of_kib(4096) else { return };
    let sink = mount.inside("audit.log");
    let setup = Setup::new().section(&format!("audit: {{ sink: {} }}", sink.display()));
    let proxy = mount.shown_to(setup).start().records_elsewhere();
    let log = mount.outside("audit.log");
    for copied in 1..=3 {
        assert_eq!(proxy.send(cancel("none")).status, 403);
        assert_eq!(records(&log).len(), 1);
        File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        mount.fill();
        for _ in 0..5 {
            proxy.send(cancel("none")).is_refusal(503, "PROXY.AuditBlocked");
        }
        proxy.upstream_saw(copied);
        mount.empty();
        wait_for("records of those that were refused", || (records(&log).len() == 5).then_some(()));
        File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    }
}

#[test]
fn copytruncate_under_load_leaves_no_holes_and_no_torn_lines() {
    for section in ["audit: { sink: audit.log }", ""] {
        let setup = Setup::new().section(section);
        let log = setup.path("audit.log");
        let stdout = File::create(&log).unwrap();
        let mut proxy = Process::start(setup, stdout, Stdio::null());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        assert_eq!(proxy.ask("proxy.sock", &cancel("none")).status, 403);
                    }
                });
            }
            for _ in 0..20 {
                wait_for("a record", || (fs::metadata(&log).unwrap().len() > 0).then_some(()));
                File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
            }
            over.store(true, Relaxed);
        });
        assert_eq!(proxy.ask("proxy.sock", &cancel("none")).status, 403);
        assert_eq!(proxy.stop(), Some(0));
        assert!(!records(&log).is_empty(), "every line is whole, and none is preceded by a hole");
    }
}

#[test]
fn a_file_that_is_removed_is_noticed_and_made_anew() {
    let proxy = Setup::new().section("audit: { sink: audit.log }").start().records_elsewhere();
    let log = proxy.path("audit.log");
    assert_eq!(proxy.send(cancel("none")).status, 403);
    fs::remove_file(&log).unwrap();
    // Also without calls.
    let line = proxy.logged("the audit file was removed: created a new one");
    assert_eq!(line["path"], log.to_str().unwrap());
    let answer = proxy.send(cancel("none")).with_status(403);
    let records = records(&log);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["request.id"], answer.header("proxy-request-id"));
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_removed_again_and_again_under_load_takes_no_record_with_it_unseen() {
    let proxy = Setup::new().section("audit: { sink: audit.log }").start().records_elsewhere();
    let log = proxy.path("audit.log");
    let (over, mut removed) = (AtomicBool::new(false), Vec::new());
    let answered: BTreeSet<String> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    while !over.load(Relaxed) {
                        let answer = proxy.send(cancel("none")).with_status(403);
                        ids.push(answer.header("proxy-request-id").to_owned());
                    }
                    ids
                })
            })
            .collect();
        for _ in 0..20 {
            let file = wait_for("a new file with a record", || {
                File::open(&log).ok().filter(|file| file.metadata().unwrap().len() > 0)
            });
            fs::remove_file(&log).unwrap();
            removed.push(file);
        }
        over.store(true, Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    wait_for("last file", || log.exists().then_some(()));
    removed.push(File::open(&log).unwrap());
    let ids = wait_for("all records", || {
        let ids: BTreeSet<String> = removed.iter_mut().flat_map(ids).collect();
        (ids.len() == answered.len()).then_some(ids)
    });
    assert_eq!(ids, answered);
}

#[test]
fn a_removed_file_that_cannot_be_made_anew_refuses_calls_until_it_can() {
    let setup = Setup::new().folder("records").section("audit: { sink: records/audit.log }");
    let proxy = setup.argument("--no-sandbox").start().records_elsewhere();
    let folder = proxy.path("records");
    assert_eq!(proxy.send(cancel("none")).status, 403);
    fs::remove_dir_all(&folder).unwrap();
    let line = proxy.logged("the audit sink is blocked: calls are refused until it accepts records");
    for _ in 0..5 {
        proxy.send(cancel("none")).is_refusal(503, "PROXY.AuditBlocked");
    }
    assert!(
        line["error"].as_str().unwrap().starts_with("file removed: cannot open the audit file"),
        "{line}"
    );
    proxy.upstream_saw(1);
    fs::create_dir(&folder).unwrap();
    proxy.logged("the audit sink accepts records again");
    assert_eq!(proxy.send(cancel("none")).status, 403);
    assert_eq!(records(&folder.join("audit.log")).len(), 6);
}

#[test]
fn a_file_that_is_moved_away_and_not_told_of_is_left_in_the_end() {
    let proxy = Setup::new().section("audit: { sink: audit.log }").start().records_elsewhere();
    let (log, moved) = (proxy.path("audit.log"), proxy.path("audit.log.1"));
    assert_eq!(proxy.send(cancel("none")).status, 403);
    fs::rename(&log, &moved).unwrap();
    assert_eq!(proxy.send(cancel("none")).status, 403);
    assert_eq!(records(&moved).len(), 2, "a rotation tells when it is done");
    proxy.logged("the audit file was moved without SIGHUP: reopened");
    assert_eq!(proxy.send(cancel("none")).status, 403);
    assert_eq!((records(&log).len(), records(&moved).len()), (1, 2));
}

#[test]
fn what_was_allocated_ahead_is_given_back_when_a_file_is_left() {
    let mut proxy = Setup::new().section("audit: { sink: audit.log }").start().records_elsewhere();
    let (log, rotated) = (proxy.path("audit.log"), proxy.path("audit.log.1"));
    let allocated = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    assert_eq!(proxy.send(cancel("none")).status, 403);
    if allocated(&log) < AHEAD {
        eprintln!("nothing is allocated ahead on this file system");
        return;
    }
    fs::rename(&log, &rotated).unwrap();
    proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
    assert!(allocated(&rotated) < AHEAD / 4, "{} bytes", allocated(&rotated));
    assert_eq!(proxy.send(cancel("none")).status, 403);
    assert!(allocated(&log) >= AHEAD);
    assert_eq!(proxy.stop(), Some(0));
    assert!(allocated(&log) < AHEAD / 4, "{} bytes", allocated(&log));
    assert_eq!((records(&log).len(), records(&rotated).len()), (1, 1));
}

#[test]
fn a_second_proxy_on_the_file_is_told_who_has_it_and_closes_nothing() {
    let first = Setup::new();
    let section = format!("audit: {{ sink: {}, write_ahead: true }}", first.path("audit.log").display());
    let mut first = first.section(&section).start().records_elsewhere();
    let log = first.path("audit.log");
    first.cloud().set_faults([Fault::LatencyMs(3_000).until_cleared()]);
    let mut wire = first.sending(cancel("none"));
    wait_for("request upstream", || (first.cloud().requests().len() == 1).then_some(()));
    let second = Setup::new().section(&section);
    refused(&second, &first);
    first.cloud().set_faults([]);
    assert_eq!(wire.answer().status, 403);
    wait_for("record", || (records(&log).len() == 2).then_some(()));
    let events: Vec<Value> = records(&log).iter().map(|record| record["error.type"].clone()).collect();
    assert!(!events.contains(&"PROXY.Interrupted".into()), "{events:?}");
    // It keeps the file on SIGHUP, whether or not something was rotated.
    first.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
    refused(&second, &first);
    fs::rename(&log, first.path("audit.log.1")).unwrap();
    first.signal(Signal::SIGHUP);
    wait_for("new file", || log.exists().then_some(()));
    refused(&second, &first);
    assert_eq!(first.stop(), Some(0));
    let second = second.start().records_elsewhere();
    assert_eq!(second.send(cancel("none")).status, 403);
}

#[test]
fn of_many_that_are_started_at_once_one_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let section = format!("audit: {{ sink: {} }}", folder.path().join("audit.log").display());
    let mut children: Vec<_> = (0..4)
        .map(|_| {
            let setup = Setup::new().section(&section);
            let child = setup.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            (child, setup)
        })
        .collect();
    let codes = wait_for("end of all but one", || {
        let codes: Vec<_> = children
            .iter_mut()
            .filter_map(|(child, _)| child.try_wait().unwrap())
            .map(|status| status.code())
            .collect();
        (codes.len() >= children.len() - 1).then_some(codes)
    });
    assert_eq!(codes, [Some(78); 3]);
    for (child, _) in &mut children {
        drop(child.kill());
        drop(child.wait());
    }
}

#[test]
fn records_that_go_to_a_closed_standard_output_are_told_at_the_start() {
    for (how, what) in [(">&-", "which is closed"), ("1</dev/null", "which is not open for writing")] {
        let setup = under_shell(Setup::new(), how);
        let output = setup.run("run");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{how}: {error}");
        assert!(error.contains(what) && error.contains("audit.sink"), "{how}: {error}");
    }
    // On purpose.
    let proxy = under_shell(Setup::new(), ">/dev/null").start().records_elsewhere();
    assert_eq!(proxy.send(cancel("none")).status, 403);
}

#[test]
fn with_all_standard_descriptors_closed_nothing_takes_their_numbers() {
    let setup = under_shell(Setup::new(), "<&- >&- 2>&-").section("audit: { sink: audit.log }");
    let log = setup.path("audit.log");
    let mut proxy = Process::start(setup, Stdio::null(), Stdio::null());
    for _ in 0..20 {
        assert_eq!(proxy.ask("proxy.sock", &cancel("none")).status, 403);
    }
    // The file has no log line either: those go to standard error.
    assert_eq!(records(&log).len(), 20);
    for number in 0..3 {
        // Without permission to inspect the process one only sees that it works.
        if let Ok(target) = fs::read_link(format!("/proc/{}/fd/{number}", proxy.id())) {
            assert_eq!(target, Path::new("/dev/null"), "{number}");
        }
    }
    assert_eq!(proxy.stop(), Some(0));
}

fn under_shell(setup: Setup, redirection: &str) -> Setup {
    setup.under(&["/bin/sh", "-c", &format!("exec \"$0\" \"$@\" {redirection}")])
}

fn refused(second: &Setup, first: &Proxy) {
    let output = second.run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    let expected = format!("is locked by another process (pid {})", first.id());
    assert!(error.contains(&expected), "{error}");
}

fn ids(file: &mut File) -> Vec<String> {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text.lines().map(|line| Record::parse(line).text("request.id").to_owned()).collect()
}

fn records(log: &Path) -> Vec<Record> {
    fs::read_to_string(log).unwrap().lines().map(Record::parse).collect()
}

const AHEAD: u64 = 1024 * 1024;
