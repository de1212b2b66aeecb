//! The life of a job: created, viewed, listed, cancelled; and the planted differences of the cloud.

use super::{
    keys::{Credential, sign_with},
    *,
};

/// Sends a request with a user token.
async fn ask(server: &TestServer, line: &str, body: &str) -> Answered {
    let token = server.cloud().issue_token(PROJECT);
    call(server, &with_header(&with_body(line, body), "X-Auth-Token", &token)).await
}

/// Sends a request signed with an access key.
async fn ask_signed(server: &TestServer, line: &str, body: &str) -> Answered {
    call(server, &sign_with(server, &Credential::permanent(), line, body)).await
}

/// The request line of a call.
fn at(method: &str, version: u8, rest: &str) -> String {
    format!("{method} /v{version}/{PROJECT}/editing/{rest}")
}

async fn control(server: &TestServer, line: &str, body: &Value) {
    assert_eq!(call(server, &with_body(line, &body.to_string())).await.status, 204, "{line}");
}

#[tokio::test]
async fn what_the_official_sdk_signed_is_believed_with_its_body_and_its_repeated_queries() {
    let mut count = 0;
    for line in include_str!("../../../tests/data/editing.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        let body = String::from_utf8(crate::signing::base64(text("body_b64"))).unwrap();
        let headers = vector["headers_out"].as_array().unwrap().iter();
        let headers: String =
            headers.map(|h| format!("{}: {}\r\n", h[0].as_str().unwrap(), h[1].as_str().unwrap())).collect();
        let request = |body: &str| {
            let (length, authorization) = (body.len(), text("authorization"));
            format!(
                "{} {} HTTP/1.1\r\n{headers}Authorization: {authorization}\r\nContent-Length: {length}\r\n\r\n{body}",
                text("method"),
                text("request_target")
            )
        };
        let server = server();
        let answered = call(&server, &request(&body)).await;
        let expected = if text("method") == "DELETE" { 204 } else { 200 };
        assert_eq!(answered.status, expected, "{}: {}", text("id"), answered.text);
        let changed = call(&server, &request(&format!("{body} "))).await;
        assert_eq!(changed.error(), (401, "APIGW.0301"), "{}", text("id"));
        count += 1;
    }
    assert_eq!(count, 8);
}

#[tokio::test]
async fn a_job_is_made_shown_by_each_version_in_its_way_and_gone_when_cancelled() {
    let body = json!({
        "edit_type": ["CLIP"], "user_data": "editor-api/42",
        "clips": [{ "input": { "bucket": "in", "location": "l", "object": "a.mp4" } }],
        "output_setting": { "output": { "bucket": "out", "location": "l", "object": "b/" } },
    });
    for version in [1, 2] {
        let server = server();
        let made = ask_signed(&server, &at("POST", version, "jobs"), &body.to_string()).await;
        let id = made.body["job_id"].as_str().unwrap();
        assert_eq!((made.status, id), (200, "100212"), "100211 is there already");
        let v1 = ask(&server, &at("GET", 1, "jobs?job_id=7&job_id=100212"), "").await.body;
        let job = &v1["jobs"][0];
        assert_eq!((&v1["total"], &job["task_id"], &job["job_id"]), (&json!(1), &json!(id), &json!(id)));
        assert_eq!((&job["edit_task_req"], &job["edit_type"]), (&body, &json!(["CLIP"])));
        assert_eq!((&job["user_data"], &job["status"]), (&json!("editor-api/42"), &json!("WAITING")));
        let v2 = ask(&server, &at("GET", 2, "jobs?job_id=100212"), "").await.body;
        let job = &v2["job_array"][0];
        assert_eq!((&job["user_data"], &job["job_id"]), (&json!("editor-api/42"), &json!(id)));
        assert_eq!((job.get("edit_task_req"), job.get("edit_type"), job.get("task_id")), (None, None, None));
        let cancel = at("DELETE", 1, "jobs?job_id=100212");
        assert_eq!(ask_signed(&server, &cancel, "").await.status, 204);
        assert_eq!(ask_signed(&server, &cancel, "").await.error(), (403, "MPC.10211"));
        let gone = ask(&server, &at("GET", 1, "jobs?job_id=100212"), "").await.body;
        assert_eq!(gone, json!({ "total": 0, "jobs": [] }));
    }
}

#[tokio::test]
async fn jobs_are_created_and_listed() {
    let server = server();
    let created = ask(&server, &at("POST", 2, "jobs"), "{}").await;
    let id = created.body["job_id"].as_str().unwrap();
    let listed = ask(&server, &at("GET", 2, &format!("jobs?job_id={id}&job_id=none")), "").await;
    assert_eq!((listed.status, &listed.body["job_array"][0]["job_id"]), (200, &json!(id)));
    assert_eq!(listed.body["job_array"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&server, &at("GET", 2, "jobs"), "").await.error(), (400, "MPC.10202"));
}

#[tokio::test]
async fn version_1_lists_by_status_time_and_page() {
    let server = server();
    for (job, state) in [("a", JobState::Succeeded), ("b", JobState::Processing), ("c", JobState::Init)] {
        server.cloud().put_job(PROJECT, job, state);
    }
    server.cloud().set_clock_offset(TimeDelta::days(3650));
    server.cloud().put_job(PROJECT, "late", JobState::Canceled);
    let late = (server.cloud().now() - TimeDelta::days(1)).format("%Y%m%d%H%M%S");
    for (query, total, ids) in [
        ("", 5, vec!["100211", "a", "b", "c", "late"]),
        ("?status=SUCCEED", 1, vec!["a"]),
        ("?status=PREPROCESSING", 1, vec!["b"]),
        ("?status=INIT", 1, vec!["c"]),
        ("?size=2&page=1", 5, vec!["b", "c"]),
        ("?page=3&size=2", 5, vec![]),
        (&format!("?start_time={late}"), 1, vec!["late"]),
        (&format!("?end_time={late}&size=1"), 4, vec!["100211"]),
    ] {
        let listed = ask(&server, &at("GET", 1, &format!("jobs{query}")), "").await;
        let jobs = listed.body["jobs"].as_array().unwrap();
        let found: Vec<&str> = jobs.iter().map(|job| job["job_id"].as_str().unwrap()).collect();
        assert_eq!((listed.status, &listed.body["total"], found), (200, &json!(total), ids), "{query}");
    }
    for query in ["?status=DONE", "?size=0", "?size=101", "?page=x", "?start_time=2026"] {
        let refused = ask(&server, &at("GET", 1, &format!("jobs{query}")), "").await;
        assert_eq!(refused.error(), (400, "MPC.10202"), "{query}");
    }
    let many: Vec<String> = (0..11).map(|id| format!("job_id={id}")).collect();
    for version in [1, 2] {
        let view = at("GET", version, &format!("jobs?{}", many.join("&")));
        assert_eq!(ask(&server, &view, "").await.error(), (400, "MPC.10202"));
    }
}

#[tokio::test]
async fn a_create_is_refused_as_documented() {
    let server = server();
    server.cloud().set_unreadable_buckets(vec!["closed".into()]);
    let create = at("POST", 1, "jobs");
    for (body, expected) in [
        ("[]", (400, "MPC.10202")),
        ("{", (400, "MPC.10202")),
        (r#"{"user_data":1}"#, (400, "MPC.10202")),
        (r#"{"edit_type":"CLIP"}"#, (400, "MPC.10202")),
        (r#"{"input":{"bucket":"in","object":"a"}}"#, (400, "MPC.10209")),
        (r#"{"input":{"bucket":"in","location":"l","object":"../a"}}"#, (400, "MPC.10209")),
        (r#"{"x":[{"input":{"bucket":"closed","location":"l","object":"a"}}]}"#, (406, "MPC.10210")),
        (r#"{"input":{"bucket":"in","location":"l","object":"a"}}"#, (200, "")),
    ] {
        assert_eq!(ask(&server, &create, body).await.error(), expected, "{body}");
    }
    let token = server.cloud().issue_token(PROJECT);
    let untyped = with_body(&create, "{}").replace("application/json", "text/plain");
    let answered = call(&server, &with_header(&untyped, "X-Auth-Token", &token)).await;
    assert_eq!(answered.error(), (400, "MPC.10205"));
}

#[tokio::test]
async fn a_key_does_what_iam_allows_it() {
    let server = server();
    let (key, cloud) = (options().access_keys.remove(0).id, server.cloud());
    let tries = async || {
        let create = ask_signed(&server, &at("POST", 2, "jobs"), "{}").await.error().0;
        let view = ask_signed(&server, &at("GET", 2, "jobs?job_id=100211"), "").await.error().0;
        let cancel = ask_signed(&server, &at("DELETE", 2, "jobs/7"), "").await;
        (create, view, cancel.body["error_code"].as_str().unwrap().to_owned())
    };
    assert_eq!(tries().await, (200, 200, "MPC.10211".into()));
    control(&server, &format!("PUT /_test/keys/{key}/actions"), &json!(["mpc:editingTask:view"])).await;
    assert_eq!(tries().await, (403, 200, "APIGW.0302".into()));
    control(&server, &format!("PUT /_test/keys/{key}/actions"), &json!(["mpc:editingTask:create"])).await;
    assert_eq!(tries().await, (200, 403, "APIGW.0302".into()));
    control(&server, &format!("DELETE /_test/keys/{key}/actions"), &json!(null)).await;
    assert_eq!(tries().await, (200, 200, "MPC.10211".into()));
    assert_eq!(cloud.bad_signatures(&key).unwrap().failures, 0);
}

#[tokio::test]
async fn a_test_can_make_a_job_that_was_created_from_something() {
    let server = server();
    let job = json!({ "state": "FAILED", "create": { "user_data": "a/1", "output": { "bucket": "b" } } });
    control(&server, &format!("PUT /_test/jobs/{PROJECT}/77"), &job).await;
    let told = call(&server, &with_body(&format!("GET /_test/jobs/{PROJECT}/77"), "")).await;
    assert_eq!(told.body, job);
    let shown = ask(&server, &at("GET", 2, "jobs?job_id=77"), "").await.body;
    let shown = &shown["job_array"][0];
    assert_eq!((&shown["user_data"], &shown["status"]), (&json!("a/1"), &json!("FAILED")));
    assert_eq!(shown["output"], json!({ "bucket": "b" }));
    server.cloud().put_job(PROJECT, "77", JobState::Waiting);
    assert!(server.cloud().job_request(PROJECT, "77").is_some(), "a state changes nothing else");
}

#[tokio::test]
async fn each_difference_shows() {
    let cancel = |rest: &str| at("DELETE", 2, rest);
    let view = |version| at("GET", version, "jobs?job_id=100211");
    type Shows = fn(&Answered) -> bool;
    let cases: &[(Value, String, Shows)] = &[
        (json!({ "no_url": "DELETE /v2/{project_id}/editing/job" }), cancel("job?job_id=100211"), |a| {
            a.error() == (404, "APIGW.0101")
        }),
        (
            json!({ "status": { "action": "mpc:editingTask:delete", "is": 200 } }),
            cancel("jobs/100211"),
            |a| a.status == 200,
        ),
        (json!({ "lacks": { "version": 1, "member": "edit_task_req" } }), view(1), |a| {
            a.body["jobs"][0].get("edit_task_req").is_none()
        }),
        (json!({ "renamed": { "version": 2, "member": "job_id", "to": "id" } }), view(2), |a| {
            a.body["job_array"][0]["id"] == "100211"
        }),
        (json!({ "word": { "version": 1, "word": "WAITING", "is": "QUEUED" } }), view(1), |a| {
            a.body["jobs"][0]["status"] == "QUEUED"
        }),
        (json!("numeric_ids"), view(1), |a| a.body["jobs"][0]["job_id"] == 100_211),
        (json!("absent_is_an_error"), at("GET", 1, "jobs?job_id=7"), |a| a.error() == (403, "MPC.10211")),
        (json!({ "absent_on_cancel": { "status": 404, "code": "MPC.10299" } }), cancel("jobs/7"), |a| {
            a.error() == (404, "MPC.10299")
        }),
        (json!({ "project_header": "x-project_id" }), view(1), |a| a.error() == (401, "MPC.10208")),
    ];
    for (difference, line, shows) in cases {
        let server = server();
        let differences = json!([difference]);
        control(&server, "PUT /_test/differences", &differences).await;
        let told = call(&server, &with_body("GET /_test/differences", "")).await;
        assert_eq!(told.body, differences);
        let answered = ask_signed(&server, line, "").await;
        assert!(shows(&answered), "{difference}: {} {}", answered.status, answered.text);
        control(&server, "DELETE /_test/differences", &json!(null)).await;
        server.cloud().put_job(PROJECT, "100211", JobState::Waiting);
        let answered = ask_signed(&server, line, "").await;
        assert!(!shows(&answered), "{difference}: {} {}", answered.status, answered.text);
    }
}
