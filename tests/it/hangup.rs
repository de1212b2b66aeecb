//! Callers that hang up: a complete request is still executed once and recorded.

use std::{io::Write, net::TcpStream};

use mpc_auth_proxy::testserver::{Fault, Planned};
use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};
use serde_json::json;

use crate::harness::{PROJECT, Proxy, Setup, Wire, cancel, wait_for};

#[test]
fn a_caller_that_closes_after_its_request_is_served_exactly_once() {
    for fault in [None, Some(Fault::LatencyMs(20).until_cleared())] {
        let proxy = with_jobs(fault);
        for job in 0..TIMES {
            drop(proxy.sending(cancel(&format!("job-{job}"))));
        }
        all_cancelled_once(&proxy);
    }
}

#[test]
fn a_caller_that_half_closes_after_its_request_gets_its_answer() {
    for fault in [None, Some(Fault::LatencyMs(20).until_cleared())] {
        let proxy = with_jobs(fault);
        let mut wires: Vec<Wire> = (0..TIMES)
            .map(|job| {
                let mut wire = proxy.sending(cancel(&format!("job-{job}")));
                wire.half_close();
                wire
            })
            .collect();
        for wire in &mut wires {
            assert_eq!(wire.answer().status, 204);
        }
        wires.into_iter().for_each(Wire::closed);
        all_cancelled_once(&proxy);
    }
}

#[test]
fn a_caller_that_resets_its_connection_is_served_exactly_once() {
    let proxy = with_jobs(Some(Fault::LatencyMs(300).until_cleared()));
    proxy.expect_records(TIMES);
    let mut streams: Vec<TcpStream> = Vec::new();
    for job in 0..TIMES {
        let mut stream = TcpStream::connect(proxy.address("app")).unwrap();
        stream.write_all(cancel(&format!("job-{job}")).as_bytes()).unwrap();
        streams.push(stream);
    }
    wait_for("requests upstream", || (proxy.cloud().requests().len() == TIMES).then_some(()));
    for stream in streams {
        // With a linger time of zero the socket sends RST instead of FIN.
        setsockopt(&stream, Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }
    all_cancelled_once(&proxy);
}

#[test]
fn a_caller_that_goes_away_before_its_request_is_whole_is_no_request() {
    let proxy = Setup::new().start();
    let whole = cancel("100211");
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let mut wire = proxy.dial("app");
        wire.write(&whole[..length]);
        drop(wire);
    }
    // Those connections are older than this one.
    let answer = proxy.send(cancel("none")).with_status(403);
    proxy.record(&answer).says(json!({ "upstream.error_code": "MPC.10211" }));
    proxy.upstream_saw(1);
}

#[test]
fn requests_that_come_in_one_piece_are_answered_in_order() {
    let proxy = Setup::new().start();
    proxy.expect_records(3);
    let mut wire = proxy.dial("app");
    wire.write([cancel("100211"), cancel("none"), cancel("a/b")].concat());
    wire.half_close();
    assert_eq!([wire.answer().status, wire.answer().status, wire.answer().status], [204, 403, 404]);
    wire.closed();
    proxy.upstream_saw(2);
    let outcomes: Vec<_> = proxy.audit(3).iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("forwarded"), json!("forwarded"), json!("refused")]);
}

pub(crate) fn with_jobs(fault: Option<Planned>) -> Proxy {
    let proxy = Setup::new().start();
    for job in 0..TIMES {
        proxy.queue(&format!("job-{job}"));
    }
    proxy.cloud().set_faults(fault);
    proxy
}

pub(crate) fn all_cancelled_once(proxy: &Proxy) {
    let records = proxy.audit(TIMES);
    for record in &records {
        record.says(json!({
            "outcome": "forwarded", "http.response.status_code": 204, "upstream.status_code": 204,
            "upstream.attempts": 1, "error.type": null,
        }));
    }
    for job in 0..TIMES {
        let name = format!("job-{job}");
        wait_for("cancelled job", || proxy.cloud().job_state(PROJECT, &name).is_none().then_some(()));
        assert_eq!(records.iter().filter(|record| record["mpc.job_id"] == *name).count(), 1, "{name}");
    }
    let mut targets: Vec<String> = proxy.upstream_saw(TIMES).into_iter().map(|seen| seen.target).collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), TIMES, "each job once");
}

pub(crate) const TIMES: usize = 100;
