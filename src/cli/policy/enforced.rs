//! Tests that a running proxy decides as these commands say, with real calls and a replay of their records.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::command::{Args, answer_to};
use crate::cli::{arguments::parse, start::runtime};
use crate::config;
use crate::metrics::{Format, ProcessState};
use crate::server::{Inherited, Proxy};
use crate::testserver::{AccessKey, JobState, Options, TestServer};

const PROJECT_ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const JOBS: [&str; 5] = ["1", "far-1", "old-1", "obs-1", "keep-1"];

const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [ { name: app, bind: '127.0.0.1:0' } ]
projects: [ { name: media-prod, id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: ENDPOINT, credential: demo } ]
credentials: { demo: { files: { access_key: ak, secret_key: sk } } }
audit: { sink: audit.jsonl }
";

const POLICY: &str = "version: 1
mode: MODE
callers:
  editor-api: { identify: [ { listener: app } ] }
rules:
  - id: near
    effect: allow
    callers: [editor-api]
    actions: ['*']
    projects: ['*']
    jobs: ['1', keep-*]
    condition:
      IpAddress: { g:SourceIp: 127.0.0.0/8 }
      StringEquals: { mpc:ProjectId: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, proxy:Listener: app, proxy:IdentifiedBy: listener }
      DateGreaterThan: { g:CurrentTime: 2020-01-01 }
  - id: far
    effect: allow
    callers: [editor-api]
    actions: ['*']
    projects: ['*']
    jobs: [far-*]
    condition: { IpAddress: { g:SourceIp: 10.0.0.0/8 } }
  - { id: old, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: [old-*], expires: 2020-01-01 }
  - { id: obs, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: [obs-*], mode: observe }
  - { id: keep, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: [keep-*], mode: observe }
";

/// Returns the status of a cancel of each job, and the metrics afterwards.
async fn served(directory: &Path, mode: &str) -> (Vec<String>, String) {
    let key = AccessKey::permanent("HPUATEST", "5ec2e7", PROJECT_ID);
    let options = Options { access_keys: vec![key], ..Options::default() };
    let cloud = TestServer::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
    JOBS.iter().for_each(|job| cloud.cloud().put_job(PROJECT_ID, job, JobState::Waiting));
    let proxy = PROXY.replace("ENDPOINT", &cloud.url());
    let files = [("proxy.yaml", proxy), ("policy.yaml", POLICY.replace("MODE", mode))];
    let files = files.into_iter().chain([("ak", "HPUATEST".to_owned()), ("sk", "5ec2e7".to_owned())]);
    files.for_each(|(name, text)| std::fs::write(directory.join(name), text).unwrap());
    let path = directory.join("proxy.yaml");
    let loaded = config::load(&path).unwrap();
    let proxy = Proxy::new(path, loaded, Inherited::none()).await.unwrap();
    let app = proxy.addresses()[0].1.clone();
    let metrics = proxy.metrics().clone();
    let running = proxy.serve();
    let mut answers = Vec::new();
    for job in JOBS {
        let mut stream = TcpStream::connect(&app).await.unwrap();
        let head = format!(
            "DELETE /v2/media-prod/editing/jobs/{job} HTTP/1.1\r\nHost: {app}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answers.push(answer.split(' ').nth(1).unwrap().to_owned());
    }
    running.drain().await;
    let arrived = cloud.cloud().requests().len();
    assert_eq!(
        arrived,
        answers.iter().filter(|status| *status == "204").count(),
        "upstream saw what was allowed"
    );
    cloud.stop().await;
    (answers, metrics.text(Format::OpenMetrics, &ProcessState::default()))
}

/// Returns the effect, rule and mode of each record.
fn recorded(directory: &Path) -> Vec<String> {
    let audit = std::fs::read_to_string(directory.join("audit.jsonl")).unwrap();
    let record = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
        ["policy.effect", "policy.rule", "policy.mode"].map(field).join(" ")
    };
    audit.lines().map(record).collect()
}

/// Returns the result of `policy replay` with the policy that produced the records.
fn replayed(directory: &Path) -> (ExitCode, String) {
    let [audit, policy] =
        ["audit.jsonl", "policy.yaml"].map(|name| directory.join(name).display().to_string());
    let Args { command } = parse(&["replay", &audit, "--policy", &policy]).unwrap();
    let mut out = Vec::new();
    let code = answer_to(&command, &mut out, &mut Vec::new()).unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[test]
fn conditions_ends_and_rules_under_observation_are_applied_to_real_calls() {
    let directory = tempfile::tempdir().unwrap();
    let (answers, metrics) = runtime().unwrap().block_on(served(directory.path(), "enforce"));
    assert_eq!(answers, ["204", "403", "403", "403", "204"]);
    let expected = [
        "allow near enforce",
        "deny - enforce",
        "deny - enforce",
        "deny obs would_allow",
        "allow keep would_deny",
    ];
    assert_eq!(recorded(directory.path()), expected);
    for (effect, rule, mode, count) in [
        ("allow", "near", "enforce", 2),
        ("deny", "_default", "enforce", 3),
        ("allow", "obs", "would_allow", 1),
        ("deny", "keep", "would_deny", 1),
        ("allow", "far", "enforce", 0),
    ] {
        let series = format!("rule=\"{rule}\",effect=\"{effect}\",mode=\"{mode}\"}} {count}\n");
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
    let same = "5 calls: 0 would now be denied, 0 would now be allowed, 5 would not change\n";
    assert_eq!(replayed(directory.path()), (ExitCode::SUCCESS, same.to_owned()));
}

#[test]
fn a_policy_that_is_only_observed_denies_no_real_call() {
    let directory = tempfile::tempdir().unwrap();
    let (answers, metrics) = runtime().unwrap().block_on(served(directory.path(), "observe"));
    assert_eq!(answers, ["204"; 5]);
    let expected = [
        "allow near would_allow",
        "allow - would_deny",
        "allow - would_deny",
        "allow - would_deny",
        "allow near would_allow",
    ];
    assert_eq!(recorded(directory.path()), expected);
    assert!(metrics.contains("rule=\"_default\",effect=\"deny\",mode=\"would_deny\"} 3\n"), "{metrics}");
    let (code, out) = replayed(directory.path());
    assert!(code == ExitCode::SUCCESS && out.starts_with("5 calls: 0 "), "{out}");
}
