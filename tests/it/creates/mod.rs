//! Creates: a body is parsed strictly, judged by every object it names, rewritten, and sent once.

mod arrive;
mod bodies;
mod moments;
mod once;
mod signed;

use mpc_auth_proxy::testserver::{JobState, Seen};
use serde_json::{Value, json};

use crate::harness::{Answer, PROJECT, Proxy, Setup, TOKEN, cancel, request};

/// A policy to create jobs with one's own objects and name.
const CREATE: &str = "{ id: create, effect: allow, callers: ['*'], actions: ['mpc:editingTask:create'], projects: ['*'], \
    jobs: ['*'], condition: { 'ForAllValues:StringMatch': { 'mpc:Input': ['media-in/*'], \
    'mpc:Output': ['media-out/${proxy:Caller}/*'] }, StringMatch: { 'mpc:UserData': ['${proxy:Caller}/*'] } } }";
/// A policy to view and cancel one's own jobs.
const OWN: &str = "{ id: own, effect: allow, callers: ['*'], actions: ['mpc:editingTask:view', 'mpc:editingTask:delete'], \
    projects: ['*'], jobs: ['*'], condition: { StringMatch: { 'mpc:UserData': ['${proxy:Caller}/*'] } } }";
const ALL: &str = "{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }";

fn policy(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!(
        "version: 1
callers:
  editor-api: {{ identify: [ {{ listener: app }} ] }}
  oncall: {{ identify: [ {{ bearer: {{ sha256_file: oncall.sha256 }} }} ] }}
rules:
{rules}"
    )
}

fn with_rules(rules: &[&str]) -> Setup {
    Setup::new().policy(&policy(rules))
}

/// What SDKs send to version 1.
fn body(owner: &str, user_data: &str) -> String {
    json!({
        "edit_type": ["CLIP"],
        "clips": [{ "input": { "bucket": "media-in", "location": "cn-north-4", "object": "raw/课 1.mp4" } }],
        "output_setting": {
            "hls": { "interval": 5 },
            "output": { "bucket": "media-out", "location": "cn-north-4", "object": format!("{owner}/clips/") },
        },
        "user_data": user_data,
    })
    .to_string()
}

/// A call that creates a job, by version 1.
fn create(body: &str) -> String {
    create_with("/v1/media-prod/editing/jobs", &[], body)
}

fn create_with(target: &str, more: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&["Content-Type: application/json", &*length], more].concat();
    format!("{}{body}", request("POST", target, &headers))
}

/// The id of the created job.
fn made(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:#?}");
    answer.json()["job_id"].as_str().unwrap().to_owned()
}

fn view(job: &str) -> String {
    request("GET", &format!("/v1/media-prod/editing/jobs?job_id={job}"), &[])
}

/// The creates that upstream saw, having verified the signature of each over its body.
fn creates(proxy: &Proxy) -> Vec<Seen> {
    let mut seen = proxy.cloud().requests();
    seen.retain(|seen| seen.method == "POST" && seen.target.ends_with("/editing/jobs"));
    seen
}

fn sent(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn nothing_is_created(proxy: &Proxy) {
    assert!(creates(proxy).is_empty(), "{:#?}", creates(proxy));
}

#[test]
fn a_service_creates_views_and_cancels_its_own_job_without_a_key() {
    for version in [1, 2] {
        let proxy = with_rules(&[CREATE, OWN]).start();
        let body = match version {
            1 => body("editor-api", "editor-api/clip-7"),
            _ => json!({
                "inputs": [{ "input": { "bucket": "media-in", "location": "l", "object": "/raw/课 1.mp4" } }],
                "output": { "bucket": "media-out", "location": "l", "object": "editor-api/clips/" },
                "user_data": "editor-api/clip-7",
            })
            .to_string(),
        };
        let target = format!("/v{version}/media-prod/editing/jobs");
        let answer = proxy.send(create_with(&target, &["X-Own: 1"], &body));
        let job = made(&answer);
        assert!(answer.header("proxy-status").contains("received-status=200"));
        let record = proxy.record(&answer);
        record.says(json!({
            "caller.id": "editor-api", "mpc.action": "mpc:editingTask:create", "policy.rule": "create",
            "http.request.method": "POST", "http.route": format!("/v{version}/{{project_id}}/editing/jobs"),
            "mpc.job_id": job, "mpc.user_data": "editor-api/clip-7", "outcome": "forwarded",
            "upstream.attempts": 1, "upstream.status_code": 200, "error.type": null,
        }));
        assert_eq!(record["facts"]["mpc:Input"], json!(["media-in/raw/课 1.mp4"]));
        assert_eq!(record["facts"]["mpc:Output"], json!(["media-out/editor-api/clips/"]));
        let seen = creates(&proxy).remove(0);
        assert_eq!(seen.target, format!("/v{version}/{PROJECT}/editing/jobs"));
        // Rewritten: the same except for spelling.
        assert!(seen.body.is_ascii() && seen.body != body.as_bytes());
        assert_eq!(sent(&seen), serde_json::from_str::<Value>(&body).unwrap());
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("content-length"), Some(&*seen.body.len().to_string()));
        let signed = seen.header("authorization").unwrap();
        assert!(signed.contains("SignedHeaders=content-type;host;x-project-id;x-sdk-date,"), "{signed}");
        assert_eq!(seen.header("x-own"), None);
        let viewed = proxy.send(view(&job));
        assert_eq!(viewed.json()["jobs"][0]["user_data"], "editor-api/clip-7", "{viewed:#?}");
        assert_eq!(proxy.send(cancel(&job)).status, 204);
        assert_eq!(proxy.cloud().job_state(PROJECT, &job), None);
    }
}

#[test]
fn neither_of_two_services_creates_for_sees_or_cancels_the_others_jobs() {
    let proxy = with_rules(&[CREATE, OWN]).with_team().start();
    let token = format!("Authorization: Bearer {TOKEN}");
    let services = [("app", "editor-api", ""), ("team", "oncall", &*token)];
    let ask = |listener: &str, token: &str, text: String| {
        let text =
            if token.is_empty() { text } else { text.replacen("\r\n", &format!("\r\n{token}\r\n"), 1) };
        proxy.send_to(listener, text)
    };
    let jobs = services.map(|(listener, name, token)| {
        made(&ask(listener, token, create(&body(name, &format!("{name}/1")))))
    });
    for ((listener, name, token), (other, foreign)) in
        services.into_iter().zip([("oncall", &jobs[1]), ("editor-api", &jobs[0])])
    {
        for (owner, word) in [(other, name), (name, other), (other, other)] {
            ask(listener, token, create(&body(owner, &format!("{word}/2")))).refused(403, "PROXY.Forbidden");
        }
        let own = &jobs[usize::from(name == "oncall")];
        assert_eq!(ask(listener, token, view(foreign)).json()["jobs"], json!([]));
        ask(listener, token, cancel(foreign)).is_refusal(403, "PROXY.Forbidden");
        assert_eq!(ask(listener, token, view(own)).json()["total"], 1);
    }
    assert_eq!(creates(&proxy).len(), 2);
    for job in &jobs {
        assert_eq!(proxy.cloud().job_state(PROJECT, job), Some(JobState::Waiting));
    }
}

#[test]
fn a_project_that_stamps_makes_jobs_their_creators_own() {
    let proxy = with_rules(&[CREATE, OWN]).project("stamp_owner: true").start();
    for (own, stamped) in [
        (Some("42"), "editor-api/42"),
        (None, "editor-api/"),
        (Some(""), "editor-api/"),
        (Some("editor-api/42"), "editor-api/editor-api/42"),
        (Some("oncall/42"), "editor-api/oncall/42"),
    ] {
        let mut body: Value = serde_json::from_str(&body("editor-api", own.unwrap_or_default())).unwrap();
        if own.is_none() {
            body.as_object_mut().unwrap().remove("user_data");
        }
        proxy.cloud().clear_requests();
        let answer = proxy.send(create(&body.to_string()));
        let job = made(&answer);
        proxy.record(&answer).says(json!({ "mpc.user_data": stamped, "policy.rule": "create" }));
        assert_eq!(sent(&creates(&proxy)[0])["user_data"], stamped);
        let viewed = proxy.send(view(&job)).json();
        assert_eq!(viewed["jobs"][0]["user_data"], own.unwrap_or_default(), "as it was given");
        assert_eq!(proxy.send(cancel(&job)).status, 204, "{stamped}");
    }
    proxy.cloud().clear_requests();
    let longest = 65_535 - "editor-api/".len();
    assert_eq!(proxy.send(create(&body("editor-api", &"x".repeat(longest)))).status, 200);
    let answer =
        proxy.send(create(&body("editor-api", &"x".repeat(longest + 1)))).refused(400, "PROXY.BadRequest");
    proxy.record(&answer).says(json!({ "error.reason": "body_user_data", "upstream.attempts": 0 }));
    assert_eq!(creates(&proxy).len(), 1);
}

#[test]
fn what_a_job_is_about_is_recorded_by_name_alone_where_that_is_wanted() {
    let proxy = with_rules(&[CREATE]).section("audit: { facts: names }").start();
    let answer = proxy.send(create(&body("editor-api", "editor-api/secret")));
    made(&answer);
    let record = proxy.record(&answer);
    record.says(json!({ "facts": ["mpc:UserData", "mpc:EditType", "mpc:Input", "mpc:Output"] }));
    assert!(!format!("{record:?}").contains("secret"), "{record:?}");
}

#[test]
fn creates_have_limits_of_their_own() {
    let limited = policy(&[ALL]).replacen(
        "{ listener: app } ]",
        "{ listener: app } ], limits: { per_action: { 'mpc:editingTask:create': 2/day } }",
        1,
    );
    let proxy = Setup::new().policy(&limited).start();
    for _ in 0..2 {
        made(&proxy.send(create(&body("x", "1"))));
    }
    let answer = proxy.send(create(&body("x", "1"))).refused(429, "PROXY.RateLimited");
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!(after > 3600, "{after}");
    proxy.record(&answer).says(json!({ "error.reason": "caller_limit", "upstream.attempts": 0 }));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    assert_eq!(creates(&proxy).len(), 2);
    let proxy = with_rules(&[ALL]).project("rate_limit: 1/h").start();
    made(&proxy.send(create(&body("x", "1"))));
    let answer = proxy.send(create(&body("x", "1"))).refused(429, "PROXY.RateLimited");
    proxy.record(&answer).says(json!({ "error.reason": "project_limit" }));
    assert_eq!(creates(&proxy).len(), 1);
}

/// Decided by the record alone: its verdict, and the objects read and written.
#[test]
fn a_recorded_create_is_decided_again_as_it_was() {
    let proxy = with_rules(&[CREATE, OWN]).start();
    let allowed = proxy.send(create(&body("editor-api", "editor-api/1")));
    let denied = proxy.send(create(&body("oncall", "editor-api/1")));
    proxy.record(&denied);
    proxy.write("audit.log", &proxy.printed());
    let file = proxy.path("audit.log");
    for (answer, effect) in [(&allowed, "allow"), (&denied, "deny")] {
        let id = answer.header("proxy-request-id");
        let told = proxy.run(&format!("policy explain --audit {} --request-id {id}", file.display()));
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains(&format!("recorded: {effect}")), "{told}");
        assert!(told.ends_with("same policy, same decision\n"), "{told}");
    }
    let suggested = proxy.run(&format!("policy suggest {}", file.display()));
    let suggested = String::from_utf8(suggested.stdout).unwrap();
    assert!(
        suggested.contains("mpc:editingTask:create") && suggested.contains("mpc:UserData"),
        "{suggested}"
    );
}
