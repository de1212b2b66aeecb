//! Creates at any moment, while the body arrives and while the call waits: frozen, under another policy, at the start,
//! while it stops, and with a stuck sink.

use std::net::{TcpListener, TcpStream};

use mpc_auth_proxy::testserver::{Fault, Service};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{ALL, CREATE, body, create, creates, made, nothing_is_created, policy, with_rules};
use crate::{
    credentials::Remote,
    harness::{Proxy, Queues, Setup, Wire, request, wait_for},
};

/// A call whose last byte is still missing, returned once the rest was read.
struct Arriving {
    wire: Wire,
    last: String,
}

impl Arriving {
    fn at(proxy: &Proxy) -> Self {
        proxy.expect_records(1);
        let stream = TcpStream::connect(proxy.address("app")).unwrap();
        let queues = Queues::of(&stream);
        let mut wire = Wire::new(stream);
        let text = create(&body("editor-api", "editor-api/1"));
        let (most, last) = text.split_at(text.len() - 1);
        wire.write(most);
        queues.all_is_read();
        Self { wire, last: last.into() }
    }

    fn complete(&mut self) {
        self.wire.write(&self.last);
    }
}

fn freeze(proxy: &Proxy) {
    proxy.write("freeze", "");
    wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
}

/// Puts other rules in force and returns their hash.
fn another(proxy: &Proxy, rules: &[&str]) -> Value {
    let before = proxy.probe("/status").json()["policy"]["hash"].clone();
    proxy.write("policy.yaml", &policy(rules));
    wait_for("another policy", || {
        Some(proxy.probe("/status").json()["policy"]["hash"].clone()).filter(|hash| *hash != before)
    })
}

#[test]
fn what_is_frozen_is_not_read_and_what_arrives_meanwhile_is_not_sent() {
    let proxy = with_rules(&[ALL]).section("freeze_file: freeze").start();
    let mut arriving = Arriving::at(&proxy);
    freeze(&proxy);
    arriving.complete();
    let answer = arriving.wire.answer().refused(503, "PROXY.Frozen");
    proxy
        .record(&answer)
        .says(json!({ "mpc.user_data": "editor-api/1", "policy.effect": "allow", "outcome": "refused" }));
    let head = request(
        "POST",
        "/v1/media-prod/editing/jobs",
        &["Content-Type: application/json", "Content-Length: 9"],
    );
    let answer = proxy.send(head).refused(503, "PROXY.Frozen");
    assert!(answer.is_last());
    proxy.record(&answer).says(json!({ "caller.id": "editor-api", "mpc.action": "mpc:editingTask:create" }));
    // Views continue.
    assert_eq!(proxy.send(request("GET", "/v1/media-prod/editing/jobs", &[])).status, 200);
    nothing_is_created(&proxy);
}

#[test]
fn a_body_is_judged_by_the_policy_that_is_in_force_when_it_is_there() {
    let deny = CREATE.replacen("allow", "deny", 1);
    for (rules, status) in [(&*deny, 403), (CREATE, 200)] {
        let proxy = with_rules(&[ALL]).start();
        let mut arriving = Arriving::at(&proxy);
        let hash = another(&proxy, &[rules]);
        arriving.complete();
        let answer = arriving.wire.answer();
        assert_eq!(answer.status, status, "{answer:#?}");
        proxy.record(&answer).says(json!({ "policy.rule": "create", "policy.hash": hash }));
        assert_eq!(creates(&proxy).len(), usize::from(status == 200));
    }
}

#[test]
fn a_create_that_waits_is_decided_again_by_what_it_asks_for() {
    let elsewhere = CREATE.replace("media-in", "elsewhere");
    for (rules, status) in [(vec![&*elsewhere], 403), (vec![ALL], 200)] {
        let setup = Remote::named("pod_identity").setup(3600).policy(&policy(&[CREATE]));
        setup.cloud().set_faults([Fault::LatencyMs(4000).once().at(Service::PodIdentity)]);
        let proxy = setup.start();
        let mut wire = proxy.sending(create(&body("editor-api", "editor-api/1")));
        wait_for("call under way", || {
            proxy.probe("/metrics").body.contains("mpc_auth_proxy_in_flight_requests 1").then_some(())
        });
        let hash = another(&proxy, &rules);
        let answer = wire.answer();
        assert_eq!(answer.status, status, "{answer:#?}");
        proxy.record(&answer).says(json!({ "policy.hash": hash, "mpc.user_data": "editor-api/1" }));
        assert_eq!(creates(&proxy).len(), usize::from(status == 200));
    }
}

#[test]
fn a_body_that_arrives_while_it_stops_is_still_served() {
    let mut proxy = with_rules(&[ALL]).start();
    let mut arriving = Arriving::at(&proxy);
    proxy.signal_and_wait(Signal::SIGTERM, "draining");
    arriving.complete();
    let answer = arriving.wire.answer();
    made(&answer);
    assert!(answer.is_last());
    assert_eq!(proxy.ended().code(), Some(0));
    assert_eq!(creates(&proxy).len(), 1);
}

#[test]
fn a_body_that_does_not_arrive_before_the_end_of_the_drain_is_no_request() {
    let mut proxy = with_rules(&[ALL])
        .section("drain: { timeout: 300ms }\nlimits: { header_timeout: 1h }")
        .start()
        .records_elsewhere();
    let arriving = Arriving::at(&proxy);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.ended().code(), Some(3));
    nothing_is_created(&proxy);
    assert!(proxy.records().is_empty());
    drop(arriving);
}

#[test]
fn bodies_that_were_sent_before_the_start_are_served() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut waiting: Vec<Wire> =
        (0..16).map(|_| Wire::new(TcpStream::connect(socket.local_addr().unwrap()).unwrap())).collect();
    waiting.iter_mut().for_each(|wire| wire.write(create(&body("editor-api", "editor-api/1"))));
    let setup = Setup::new().listeners(&["{ name: app, bind: 'systemd:app' }"]).policy(&policy(&[CREATE]));
    let proxy = setup.start_with("app", socket);
    proxy.expect_records(16);
    let mut jobs: Vec<String> = waiting.iter_mut().map(|wire| made(&wire.answer())).collect();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!((jobs.len(), creates(&proxy).len()), (16, 16));
}

#[test]
fn with_a_sink_that_takes_no_record_no_body_is_read() {
    let proxy = with_rules(&[ALL]).section("audit: { sink: audit.log }").start().records_elsewhere();
    let mut arriving = Arriving::at(&proxy);
    proxy.limit_file_size(0);
    let head = request(
        "POST",
        "/v1/media-prod/editing/jobs",
        &["Content-Type: application/json", "Content-Length: 9"],
    );
    arriving.complete();
    arriving.wire.answer().is_refusal(503, "PROXY.AuditBlocked");
    let answer = proxy.send(head).refused(503, "PROXY.AuditBlocked");
    assert!(answer.is_last());
    nothing_is_created(&proxy);
}
