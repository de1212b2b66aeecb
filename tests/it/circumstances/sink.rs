//! With a stuck sink.

use serde_json::json;

use super::{Waiting, status};
use crate::{
    blocked::DENIED,
    harness::{Proxy, Record, Setup, cancel, wait_for},
    settle::{hash, in_halves, last_line, policy},
};

#[test]
fn half_a_policy_is_not_in_force_and_a_whole_one_is() {
    let setup = Setup::new().policy(&policy("first")).section(SINK);
    let proxy = setup.start().records_elsewhere();
    let before = hash(&proxy);
    stick(&proxy);
    in_halves(&proxy.path("policy.yaml"), &policy("second"), last_line(), || {
        proxy.signal(nix::sys::signal::Signal::SIGHUP);
    });
    // Half of it would be a different one for a while.
    let after = wait_for("another policy", || Some(hash(&proxy)).filter(|hash| *hash != before));
    let whole = Setup::new().policy(&policy("second")).start();
    assert_eq!(after, hash(&whole));
    assert_eq!(status(&proxy)["reload"]["state"], "in_force");
    loosen(&proxy);
    proxy.send(cancel("none")).is_refusal(403, "PROXY.Forbidden");
    proxy.upstream_saw(0);
}

#[test]
fn calls_that_wait_for_a_credential_are_not_sent_once_they_are_frozen_and_have_their_records() {
    for write_ahead in ["", ", write_ahead: true"] {
        let section = format!("audit: {{ sink: audit.log{write_ahead} }}\nfreeze_file: freeze");
        let mut waiting = Waiting::calls(8, &section);
        waiting.proxy = waiting.proxy.records_elsewhere();
        stick(&waiting.proxy);
        waiting.freeze();
        for answer in waiting.answers() {
            answer.is_refusal(503, "PROXY.Frozen");
        }
        loosen(&waiting.proxy);
        waiting.proxy.upstream_saw(0);
        let frozen = wait_for("records", || {
            let text = std::fs::read_to_string(waiting.proxy.path("audit.log")).unwrap();
            let records: Vec<Record> = text.lines().map(Record::parse).collect();
            let frozen = records.into_iter().filter(|record| record["error.type"] == "PROXY.Frozen");
            Some(frozen.collect::<Vec<_>>()).filter(|frozen| frozen.len() == 8)
        });
        frozen.iter().for_each(|record| record.says(json!({ "upstream.attempts": 0, "outcome": "refused" })));
    }
}

/// Blocks the sink; the first request that needs a record finds out.
fn stick(proxy: &Proxy) {
    proxy.limit_file_size(0);
    wait_for("refusal", || (proxy.send(DENIED).json()["error_code"] == "PROXY.AuditBlocked").then_some(()));
}

fn loosen(proxy: &Proxy) {
    proxy.limit_file_size(1 << 30);
    wait_for("room", || (status(proxy)["audit"]["blocked"] == json!(null)).then_some(()));
}

const SINK: &str = "audit: { sink: audit.log }";
