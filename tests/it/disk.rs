//! A full disk: no call is sent that cannot be recorded, and calls resume when there is room again.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Mount, Proxy, Record, Setup, Wire, cancel, wait_for};

#[test]
fn while_the_disk_is_full_every_call_is_refused_and_then_they_go_on() {
    let Some(mount) = Mount::of_kib(256) else { return };
    for write_ahead in [false, true] {
        let name = format!("audit-{write_ahead}.log");
        let proxy = recording(&mount, &name, write_ahead);
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        mount.fill();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..5).for_each(|_| refused(&proxy)));
            }
        });
        mount.empty();
        let answer = proxy.send(cancel("none"));
        assert_eq!(answer.status, 403, "{answer:#?}");
        proxy.upstream_saw(2);
        let records = records(&mount.outside(&name));
        let statuses = records.iter().filter(|record| record["event"] == "request");
        let statuses: Vec<u64> =
            statuses.map(|record| record["http.response.status_code"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [&[204][..], &[503; 40], &[403]].concat());
    }
}

#[test]
fn a_disk_that_fills_up_and_empties_under_load_loses_no_record_and_no_call() {
    let Some(mount) = Mount::of_kib(16 * 1024) else { return };
    let proxy = recording(&mount, "audit.log", true);
    let (over, mut answers) = (AtomicBool::new(false), Vec::new());
    let ask = |wire: &mut Wire, job: &str| {
        let answer = wire.ask(cancel(job));
        if answer.is_last() {
            *wire = proxy.dial("app");
        }
        (answer.status, answer.header("proxy-request-id").to_owned())
    };
    thread::scope(|scope| {
        let call = |caller: usize| {
            let (mut answers, mut wire, over) = (Vec::new(), proxy.dial("app"), &over);
            while !over.load(Relaxed) {
                answers.push(ask(&mut wire, &format!("c{caller}-{}", answers.len())));
            }
            answers
        };
        let callers: Vec<_> = (0..4).map(|caller| scope.spawn(move || call(caller))).collect();
        let mut wire = proxy.dial("app");
        for status in [503, 403].repeat(5) {
            if status == 503 {
                mount.fill()
            } else {
                mount.empty()
            }
            // Preallocated space is used up first.
            wait_for("this status", || {
                answers.push(ask(&mut wire, "none"));
                (answers.last().unwrap().0 == status).then_some(())
            });
        }
        over.store(true, Relaxed);
        answers.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
    });
    let sent = answers.iter().filter(|(status, _)| *status == 403).count();
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!(sent + refused, answers.len(), "{answers:#?}");
    proxy.upstream_saw(sent);
    let records = records(&mount.outside("audit.log"));
    let recorded: BTreeSet<&str> = records
        .iter()
        .filter(|record| record["event"] == "request")
        .map(|record| record.text("request.id"))
        .collect();
    let answered: BTreeSet<&str> = answers.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(recorded, answered);
}

#[test]
fn a_file_that_may_grow_no_larger_refuses_calls_and_ends_nothing() {
    for write_ahead in [false, true] {
        let setup = Setup::new();
        let log = setup.path("audit.log");
        let section = format!("audit: {{ sink: audit.log, write_ahead: {write_ahead} }}");
        let proxy = limited(setup.section(&section)).start().records_elsewhere();
        let sent = (0..).find(|_| proxy.send(cancel("none")).status == 503).unwrap();
        assert!((2..20).contains(&sent), "{sent} fit into 16 KiB");
        (0..10).for_each(|_| refused(&proxy));
        proxy.upstream_saw(sent);
        let recorded = records(&log).iter().filter(|record| record["outcome"] == "forwarded").count();
        assert_eq!(recorded, sent, "of each call, and no line is cut");
        fs::rename(&log, log.with_extension("1")).unwrap();
        proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
        assert_eq!(proxy.send(cancel("none")).status, 403);
        proxy.upstream_saw(sent + 1);
    }
}

#[test]
fn a_write_beyond_what_a_file_may_hold_is_an_error_and_not_the_end() {
    let setup = Setup::new().section("audit: { sink: audit.log }").section("drain: { timeout: 1s }");
    let mut proxy = setup.start().records_elsewhere();
    let log = proxy.path("audit.log");
    assert_eq!(proxy.send(cancel("none")).status, 403);
    // Set while it runs, so it does not know.
    proxy.limit_file_size(fs::metadata(&log).unwrap().len());
    assert_eq!(proxy.send(cancel("none")).status, 403);
    (0..3).for_each(|_| refused(&proxy));
    proxy.upstream_saw(2);
    assert_eq!(records(&log).len(), 1);
    let line = proxy.logged("the audit sink is blocked: calls are refused until it accepts records");
    assert_eq!(
        (&line["path"], &line["error"]),
        (&log.to_str().into(), &"File too large (os error 27)".into())
    );
    assert_eq!(proxy.stop(), Some(3), "cannot write a call's record");
    assert!(proxy.log().contains("cannot write a call's record to the audit sink"));
}

fn recording(mount: &Mount, name: &str, write_ahead: bool) -> Proxy {
    let sink = mount.inside(name);
    let section = format!("audit: {{ sink: {}, write_ahead: {write_ahead} }}", sink.display());
    mount.shown_to(Setup::new().section(&section)).start().records_elsewhere()
}

/// No file may become larger than 16 KiB: `ulimit` counts in 512 bytes.
fn limited(setup: Setup) -> Setup {
    setup.under(&["/bin/sh", "-c", "ulimit -f 32; exec \"$0\" \"$@\""])
}

fn refused(proxy: &Proxy) {
    proxy.send(cancel("none")).is_refusal(503, "PROXY.AuditBlocked");
}

fn records(log: &Path) -> Vec<Record> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "every line is whole");
    text.lines().map(Record::parse).collect()
}
