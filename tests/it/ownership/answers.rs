//! Malformed answers to views: only what was understood is passed on, and only jobs.

use serde_json::{Value, json};

use super::{ALL, OWN, with_rules};
use crate::harness::{Scripted, request};

fn own(job: &str) -> Value {
    json!({ "job_id": job, "user_data": "editor-api/1", "status": "WAITING" })
}

fn other(job: &str) -> Value {
    json!({ "job_id": job, "user_data": "other/secret", "status": "WAITING" })
}

fn ok(body: &str) -> String {
    told("200 OK", body)
}

fn told(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn jobs(total: usize, jobs: &[Value]) -> String {
    ok(&json!({ "total": total, "jobs": jobs }).to_string())
}

/// A header line, a body, and the expected result.
type Case = (String, u16, &'static str);

fn cases() -> Vec<Case> {
    let twice = ok(r#"{"total":1,"jobs":[],"jobs":[{"job_id":"2","user_data":"other/secret"}]}"#);
    let two_words =
        r#"{"total":1,"jobs":[{"job_id":"1","user_data":"other/secret","user_data":"editor-api/1"}]}"#;
    let request = r#"{"total":1,"jobs":[{"job_id":"1","user_data":"editor-api/1","edit_task_req":{"user_data":"other/secret"}}]}"#;
    let mut huge = own("1");
    huge["description"] = "x".repeat(2 << 20).into();
    vec![
        (jobs(2, &[own("1"), own("3")]), 502, "lookup_foreign_job"),
        (jobs(2, &[own("1"), other("3")]), 502, "lookup_foreign_job"),
        (jobs(2, &[own("1"), other("1")]), 502, "lookup_doubled_job"),
        (twice, 502, "lookup_malformed"),
        (ok(two_words), 502, "lookup_malformed"),
        (ok(request), 502, "lookup_malformed"),
        (ok(r#"{"total":"1","jobs":[]}"#), 502, "lookup_malformed"),
        (ok(r#"{"total":1,"jobs":{}}"#), 502, "lookup_malformed"),
        (ok(r#"{"total":0,"jobs":[]} {"jobs":["secret"]}"#), 502, "lookup_malformed"),
        (ok("[\"secret\"]"), 502, "lookup_malformed"),
        (ok("secret"), 502, "lookup_malformed"),
        (ok(""), 502, "lookup_malformed"),
        (told("203 Changed", r#"{"total":1,"jobs":["secret"]}"#), 502, "lookup_status"),
        (told("206 Part", r#"{"total":1,"jobs":["secret"]}"#), 502, "lookup_status"),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), 502, "lookup_status"),
        (told("302 Found\r\nLocation: http://127.0.0.1/", "secret"), 502, "answer_status"),
        (jobs(1, &[huge]), 502, "answer_too_large"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"secret\"".into(), 502, "answer_cut"),
    ]
}

#[test]
fn an_answer_that_cannot_be_believed_is_not_shown() {
    for rules in [&[OWN][..], &[ALL]] {
        for (bytes, status, reason) in cases() {
            let what: String = bytes.chars().take(160).collect();
            let upstream = Scripted::answering(bytes);
            let proxy = with_rules(rules).upstream(&upstream.url()).start();
            let answer = proxy
                .send(request("GET", "/v1/media-prod/editing/jobs?job_id=1&job_id=2", &[]))
                .refused(status, "PROXY.UpstreamInvalid");
            assert!(!answer.body.contains("secret"), "{}", answer.body);
            proxy.record(&answer).says(json!({ "error.reason": reason }));
            assert!(!proxy.printed().contains("secret"), "{what}: {}", proxy.printed());
        }
    }
}

#[test]
fn nothing_but_the_jobs_of_an_answer_is_passed_on() {
    let job = r#"{ "job_id" : "1" ,"user_data":"editor-api\/1","odd":1.50 }"#;
    let body = format!(r#"{{"other":"secret","total":2,"jobs":[{},{job}],"more":["secret"]}}"#, other("2"));
    let headers = "X-Request-Id: theirs\r\nETag: \"secret\"\r\nContent-MD5: secret\r\nX-Secret: secret\r\n\
        Content-Language: secret\r\nContent-Type: text/secret\r\nRetry-After: 3";
    let upstream = Scripted::answering(told(&format!("200 OK\r\n{headers}"), &body));
    let proxy = with_rules(&[OWN]).upstream(&upstream.url()).start();
    let answer = proxy.send(request("GET", "/v1/media-prod/editing/jobs?job_id=1&job_id=2", &[]));
    assert_eq!(answer.body, format!(r#"{{"total":1,"jobs":[{job}]}}"#));
    assert!(answer.headers.iter().all(|(_, value)| !value.contains("secret")), "{answer:?}");
    assert_eq!((answer.status, answer.header("x-request-id")), (200, "theirs"));
    assert_eq!(answer.header("proxy-status"), "mpc-auth-proxy; received-status=200");
}

#[test]
fn a_large_list_arrives_whole_and_gives_its_room_back() {
    let text = "x".repeat(13_000);
    let all: Vec<Value> = (0..100)
        .map(|job| {
            let owner = if job % 2 == 0 { "editor-api/1" } else { "other/1" };
            json!({ "job_id": job.to_string(), "user_data": owner, "description": text })
        })
        .collect();
    let bytes = jobs(4711, &all);
    let upstream = Scripted::start(move |_, peer| while peer.request().is_some() && peer.write(&bytes) {});
    let section = "limits: { buffer_bytes: 2MiB }";
    let proxy = with_rules(&[OWN]).upstream(&upstream.url()).section(section).start();
    for _ in 0..5 {
        let answer = proxy.send(request("GET", "/v1/media-prod/editing/jobs?size=100", &[]));
        let json = answer.json();
        assert_eq!((&json["total"], json["jobs"].as_array().unwrap().len()), (&json!(4711), 50));
        assert!(json["jobs"].as_array().unwrap().iter().all(|job| job["user_data"] == "editor-api/1"));
        proxy.record(&answer).says(json!({ "view.hidden": 50 }));
    }
}
