//! Reasons of refusals: record and metric match the answer to the caller and the proof it presented.

use std::{collections::BTreeSet, fs, net::TcpStream};

use mpc_auth_proxy::{operation::CATALOGUE, reason::Reason};
use nix::unistd::geteuid;
use serde_json::{Value, json};

use crate::harness::{Answer, Proxy, Setup, TOKEN, Wire, cancel, request};

#[test]
fn each_refusal_has_its_reason_in_the_record_and_the_metric() {
    let proxy = Setup::new().with_team().start();
    let user = format!("uid:{}", geteuid());
    let bearer = format!("Authorization: Bearer {TOKEN}x");
    let other_host = cancel("1").replace("Host: localhost", "Host: other.example");
    for (listener, bytes, reason, more) in [
        ("app", "nonsense\r\n\r\n".to_owned(), "not_http", json!({})),
        ("app", cancel("1").replace('\r', ""), "bare_lf", json!({})),
        (
            "app",
            request("DELETE", "/v2/media-prod/editing/jobs/a.b", &[]),
            "bad_job",
            json!({
            "url.path": "/v2/media-prod/editing/jobs/a.b" }),
        ),
        (
            "app",
            request("DELETE", "/nowhere?secret=1", &[]),
            "unknown_path",
            json!({ "url.path": "/nowhere" }),
        ),
        (
            "app",
            request("PUT", "/v2/media-prod/editing/jobs/1", &[]),
            "wrong_method",
            json!({
            "url.path": "/v2/media-prod/editing/jobs/1" }),
        ),
        (
            "app",
            request("DELETE", "/v2/other/editing/jobs/1", &[]),
            "unknown_project",
            json!({
            "url.path": "/v2/other/editing/jobs/1", "mpc.job_id": "1" }),
        ),
        ("app", other_host, "wrong_host", json!({ "server.address": "other.example" })),
        ("app", request("DELETE", "/v2/media-prod/editing/jobs/1", &["Origin: x"]), "browser", json!({})),
        ("team", cancel("1"), "no_proof", json!({ "caller.presented": user })),
        (
            "team",
            request("DELETE", "/v2/media-prod/editing/jobs/1", &[&bearer]),
            "unknown_token",
            json!({
            "caller.presented": format!("{user}, token") }),
        ),
    ] {
        let before = counted(&proxy, reason);
        let answer = proxy.send_to(listener, bytes);
        is_told(&proxy, &answer, reason, more);
        assert_eq!(counted(&proxy, reason), before + 1.0, "{reason}");
    }
    assert!(!proxy.printed().contains("secret"));
}

#[test]
fn a_denial_on_this_machine_says_who_was_denied_and_why_the_rule_is_there() {
    let policy = "version: 1\ncallers: { editor-api: { identify: [ { listener: app } ] } }\nrules:\n  - { id: no, effect: deny, \
        callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['1'], reason: 'ticket MEDIA-1' }\n";
    let proxy = Setup::new().policy(policy).start();
    let answer = proxy.send(cancel("1"));
    assert_eq!(
        answer.error_msg(),
        "denied by policy: rule `no` at policy.yaml:4 denies it (caller: `editor-api`)"
    );
    is_told(
        &proxy,
        &answer,
        "denied_by_rule",
        json!({ "policy.reason": "ticket MEDIA-1", "policy.rule": "no" }),
    );
}

#[test]
fn a_path_that_is_none_is_answered_with_those_that_there_are() {
    let proxy = Setup::new().start();
    let answer = proxy.send(request("GET", "/nowhere", &[])).refused(404, "PROXY.NotFound");
    for row in CATALOGUE {
        assert!(answer.error_msg().contains(row.template), "{} in {answer:?}", row.template);
    }
    is_told(&proxy, &answer, "unknown_path", json!({ "url.path": "/nowhere" }));
}

#[test]
fn a_source_that_gives_nothing_is_logged_with_its_file_and_what_the_system_says() {
    let proxy = Setup::new().credential("{ files: { access_key: ./none, secret_key: sk } }").start();
    let line = proxy.logged("credential refresh failed: its calls are refused");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("none") && error.contains("No such file or directory (os error 2)"), "{line}");
    assert_eq!(line["credential"], "prod");
}

/// Remote callers, and those whose job was looked up, are not told the reason.
#[test]
fn a_denial_tells_of_the_rule_that_comes_closest_on_this_machine_and_without_a_fact() {
    let policy = "version: 1
callers:
  editor-api: { identify: [ { listener: app }, { listener: pipe } ] }
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
rules:
  - { id: own, effect: allow, callers: ['*'], actions: [mpc:editingTask:delete], projects: ['*'], jobs: ['100*'],
      condition: { StringMatch: { mpc:UserData: ['secret-owner/*'] } } }
";
    let proxy = Setup::new()
        .policy(policy)
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: pipe, bind: 'unix:proxy.sock' }",
            "{ name: mesh, bind: '0.0.0.0:0', bearer: true, hosts: any, unsafe_listen: true }",
        ])
        .start();
    let closest = "; rule `own` at policy.yaml:6 comes closest, but its `";
    let list = request("GET", "/v1/media-prod/editing/jobs", &[]);
    for listener in ["app", "pipe"] {
        for (call, field) in
            [(&cancel("7"), Some("jobs` do not match")), (&list, Some("actions` do not match"))]
        {
            let answer = proxy.send_to(listener, call).refused(403, "PROXY.Forbidden");
            let told = answer.error_msg();
            let closest = field.map(|field| format!("{closest}{field}")).unwrap_or_default();
            assert_eq!(
                told,
                format!("denied by policy: no rule allows this call (caller: `editor-api`){closest}")
            );
            is_told(&proxy, &answer, "no_rule", json!({ "policy.rule": null }));
        }
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let port = proxy.address("mesh").rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    proxy.expect_records(1);
    let mut wire = Wire::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    wire.write(request("DELETE", "/v2/media-prod/editing/jobs/7", &[&bearer]));
    assert_eq!(wire.answer().error_msg(), "denied by policy");
    for answer in [proxy.send(cancel("100211")), proxy.send(cancel("1000"))] {
        assert_eq!(answer.error_msg(), "denied by policy, or no such job");
    }
    let printed = proxy.printed();
    assert!(
        !printed.lines().any(|line| line.contains("closest") && line.contains("secret-owner")),
        "{printed}"
    );
}

#[test]
fn every_reason_is_in_the_reference_and_in_the_metrics_from_the_start() {
    let proxy = Setup::new().start();
    let words: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/REFERENCE.md")).unwrap();
    // The first cell of each row of a table of reasons.
    let tables = reference.split("| reason |").skip(1).flat_map(|table| table.split("\n\n").next());
    let rows =
        tables.flat_map(|table| table.lines().filter_map(|row| row.strip_prefix("| `")?.split('|').next()));
    let documented: BTreeSet<&str> =
        rows.flat_map(|cell| cell.trim().trim_end_matches('`').split("`, `")).collect();
    assert_eq!(documented, words);
    let metrics = proxy.probe("/metrics").body;
    for word in words {
        assert!(metrics.contains(&format!("mpc_auth_proxy_refusals_total{{reason=\"{word}\"}} 0")), "{word}");
    }
}

fn is_told(proxy: &Proxy, answer: &Answer, reason: &str, more: Value) {
    let record = proxy.record(answer);
    record.says(json!({ "error.reason": reason, "outcome": "refused" }));
    record.says(more);
}

fn counted(proxy: &Proxy, reason: &str) -> f64 {
    let metrics = proxy.probe("/metrics").body;
    let name = format!("mpc_auth_proxy_refusals_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn the_log_has_the_first_of_each_failure_and_of_each_unknown_caller() {
    let section = "upstream: { retries: { attempts: 1 }, breaker: { failures: 100 } }";
    let proxy = Setup::new().upstream("http://127.0.0.1:1").section(section).with_team().start();
    for _ in 0..10 {
        proxy.send(cancel("1")).is_refusal(502, "PROXY.UpstreamUnreachable");
        proxy.send_to("team", cancel("1")).is_refusal(401, "PROXY.Unauthenticated");
    }
    let failure = proxy.logged("cannot connect to upstream: unreachable");
    let (level, reason, endpoint) = (&failure["level"], &failure["reason"], &failure["endpoint"]);
    assert_eq!(
        (level, reason, endpoint),
        (&json!("WARN"), &json!("upstream_connect"), &json!("http://127.0.0.1:1"))
    );
    assert!(failure["error"].as_str().unwrap().contains("refused"), "{failure}");
    let stranger = proxy.logged("caller not authenticated");
    assert_eq!(stranger["error"], "caller not authenticated: no valid credentials presented");
    assert!(stranger["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{stranger}");
    for message in ["unreachable\"", "caller not authenticated\""] {
        let lines = proxy.log().lines().filter(|line| line.contains(message)).count();
        assert!((1..=5).contains(&lines), "{lines} lines");
    }
}
