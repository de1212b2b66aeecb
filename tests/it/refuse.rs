//! Refusals of wrong, slow and missing requests. For hostile bytes see `hostile`.

use mpc_auth_proxy::testserver::Fault;
use serde_json::json;

use crate::harness::{Answer, Proxy, Setup};

#[test]
fn a_method_that_is_not_the_operations_is_told_the_one_that_is() {
    let proxy = Setup::new().start();
    for method in ["GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "delete", "PURGE"] {
        let line = LINE.replacen("DELETE", method, 1);
        let mut wire = proxy.sending(head(&line, &[HOST, "Connection: close"]));
        let answer = if method == "HEAD" { wire.head() } else { wire.answer() };
        assert_eq!((answer.status, answer.header("allow")), (405, "DELETE"), "{method}");
        let recorded = if ["delete", "PURGE"].contains(&method) { "_OTHER" } else { method };
        proxy.record(&answer).says(json!({
            "http.request.method": recorded, "error.type": "PROXY.MethodNotAllowed", "outcome": "refused",
        }));
    }
    proxy.upstream_saw(0);
}

#[test]
fn the_paths_that_there_are_are_told_once() {
    let proxy = Setup::new().start();
    let mut wire = proxy.sending(head("DELETE /v2/nothing HTTP/1.1", &[HOST]));
    let answer = wire.answer();
    is_refused(&proxy, &answer, 404, "PROXY.NotFound");
    let path = "/v2/{project_id}/editing/jobs/{job_id}";
    assert!(answer.error_msg().contains(path), "{answer:#?}");
    assert!(!answer.header("proxy-status").contains(path), "{answer:#?}");
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_answered_and_recorded() {
    let proxy = Setup::new().section("limits: { header_timeout: 200ms }").start();
    let whole = head(LINE, &[HOST]);
    for length in [1, LINE.len(), whole.len() - 2, whole.len() - 1] {
        let mut wire = proxy.sending(&whole[..length]);
        let answer = wire.answer();
        is_refused(&proxy, &answer, 408, "PROXY.RequestTimeout");
        wire.closed();
    }
    proxy.upstream_saw(0);
}

#[test]
fn half_a_head_behind_a_whole_request_is_timed_out_too() {
    let proxy = Setup::new()
        .section("limits: { header_timeout: 200ms, idle_timeout: 1h, request_deadline: 1h }")
        .start();
    let whole = head(LINE, &[HOST]);
    proxy.expect_records(2);
    let mut wire = proxy.dial("app");
    assert_eq!(wire.ask(format!("{whole}{}", &whole[..LINE.len()])).status, 204);
    is_refused(&proxy, &wire.answer(), 408, "PROXY.RequestTimeout");
    wire.closed();
    proxy.upstream_saw(1);
}

#[test]
fn a_connection_without_a_request_is_closed_before_a_first_one_and_after_it() {
    let proxy = Setup::new()
        .section("limits: { idle_timeout: 200ms, header_timeout: 1h, request_deadline: 1h }")
        .start();
    proxy.dial("app").closed();
    let mut wire = proxy.sending(head(LINE, &[HOST]));
    assert_eq!(wire.answer().status, 204);
    wire.closed();
    proxy.upstream_saw(1);
}

#[test]
fn a_request_that_takes_longer_than_a_connection_may_idle_is_answered() {
    let proxy = Setup::new().section("limits: { idle_timeout: 50ms }").start();
    proxy.cloud().set_faults([Fault::LatencyMs(300).once()]);
    let mut wire = proxy.sending(head(LINE, &[HOST]));
    let answer = wire.answer().with_status(204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    proxy.upstream_saw(1);
}

/// Asserts the complete refusal and its only record.
fn is_refused(proxy: &Proxy, answer: &Answer, status: u16, code: &str) {
    answer.is_refusal(status, code);
    proxy.record(answer).says(json!({
        "request.id": answer.header("x-request-id"), "http.response.status_code": status, "outcome": "refused",
        "error.type": code, "upstream.attempts": 0, "policy.effect": null, "credential.name": null,
    }));
}

fn head(line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

const LINE: &str = "DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1";
const HOST: &str = "Host: localhost";
