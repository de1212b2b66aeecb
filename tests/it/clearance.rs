//! The last check of a call that waited, before its first byte is sent.

use std::fs;

use mpc_auth_proxy::testserver::{Fault, Service};
use serde_json::json;

use crate::{
    credentials::Remote,
    harness::{Answer, Proxy, Scripted, Setup, Wire, cancel, wait_for},
};

/// A proxy whose first credential takes long enough for a test to act meanwhile.
fn slow() -> Proxy {
    let setup = Remote::named("pod_identity").setup(3600).section("freeze_file: freeze");
    setup.cloud().set_faults([Fault::LatencyMs(4000).once().at(Service::PodIdentity)]);
    setup.start()
}

/// A call that waits.
fn under_way(proxy: &Proxy) -> Wire {
    let wire = proxy.sending(cancel("100211"));
    wait_for("call under way", || {
        proxy.probe("/metrics").body.contains("mpc_auth_proxy_in_flight_requests 1").then_some(())
    });
    wire
}

fn freeze(proxy: &Proxy) {
    proxy.write("freeze", "");
    wait_for("freeze", || (proxy.probe("/status").json()["freeze"] != json!([])).then_some(()));
}

fn nothing_was_sent(proxy: &Proxy, answer: &Answer) {
    proxy.record(answer).says(json!({ "upstream.attempts": 0, "outcome": "refused" }));
    assert!(proxy.cloud().requests().iter().all(|seen| seen.method != "DELETE"));
}

#[test]
fn a_call_that_waits_for_a_credential_is_not_sent_once_it_is_frozen() {
    let proxy = slow();
    let mut wire = under_way(&proxy);
    freeze(&proxy);
    let answer = wire.answer().refused(503, "PROXY.Frozen");
    nothing_was_sent(&proxy, &answer);
    fs::remove_file(proxy.path("freeze")).unwrap();
    wait_for("thaw", || (proxy.send(cancel("100211")).status == 204).then_some(()));
}

#[test]
fn a_call_that_waits_is_decided_again_by_the_policy_that_is_in_force_then() {
    for (effect, status) in [("deny", 403), ("allow", 204)] {
        let proxy = slow();
        let before = proxy.probe("/status").json()["policy"]["hash"].clone();
        let mut wire = under_way(&proxy);
        let policy = format!(
            "version: 1
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}
rules: [ {{ id: later, effect: {effect}, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }} ]
"
        );
        proxy.write("policy.yaml", &policy);
        let hash = wait_for("another policy", || {
            Some(proxy.probe("/status").json()["policy"]["hash"].clone()).filter(|hash| *hash != before)
        });
        let answer = wire.answer();
        assert_eq!(answer.status, status, "{answer:?}");
        proxy.record(&answer).says(json!({
            "policy.effect": effect, "policy.rule": "later", "policy.hash": hash,
        }));
        if effect == "deny" {
            answer.is_refusal(403, "PROXY.Forbidden");
            nothing_was_sent(&proxy, &answer);
        }
    }
}

#[test]
fn a_call_that_waits_for_its_second_attempt_is_not_sent_again_once_it_is_frozen() {
    let upstream = Scripted::start(|_, peer| {
        while peer.request().is_some()
            && peer.write("HTTP/1.1 503 Later\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")
        {}
    });
    let proxy = Setup::new().upstream(&upstream.url()).section("freeze_file: freeze").start();
    let mut wire = proxy.sending(cancel("100211"));
    wait_for("first attempt", || (!upstream.heads().is_empty()).then_some(()));
    freeze(&proxy);
    let answer = wire.answer().refused(503, "PROXY.Frozen");
    proxy.record(&answer).says(json!({ "upstream.attempts": 1, "upstream.status_code": 503 }));
    upstream.saw(1);
}

#[test]
fn calls_that_wait_for_the_keys_turn_are_not_sent_once_they_are_frozen() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        // The time-out of the attempt, and no answer.
        peer.wait_until_closed();
    });
    let section = "upstream: { attempt_timeout: 4s }\nfreeze_file: freeze";
    let proxy = Setup::new().upstream(&upstream.url()).section(section).start();
    let mut wires: Vec<Wire> = (0..10).map(|_| proxy.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.write(cancel("100211")));
    wait_for("three signatures", || (upstream.heads().len() == 3).then_some(()));
    freeze(&proxy);
    let mut statuses: Vec<u16> = wires.iter_mut().map(|wire| wire.answer().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[503; 7].as_slice(), &[504; 3]].concat());
    upstream.saw(3);
}
