//! Faults and the control endpoint over real sockets.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_fault_that_answers_does_no_work() {
    let server = server();
    for (fault, expected) in [
        (Fault::Throttled { retry_after_s: 7 }, (429, "APIGW.0308")),
        (Fault::InternalError, (500, "MPC.10201")),
        (Fault::Unavailable, (503, "APIGW.0613")),
        (Fault::Unauthorized, (401, "APIGW.0301")),
        (Fault::TokenRevoked, (401, "APIGW.0307")),
    ] {
        server.cloud().set_faults([fault.once()]);
        let answered = call(&server, &signed(BY_PATH)).await.unwrap();
        assert_eq!(answered.error(), expected, "{fault:?}");
        assert_eq!(answered.header("retry-after"), (expected.0 == 429).then_some("7"), "{fault:?}");
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(JobState::Waiting), "{fault:?}");
    }
    assert_eq!(call(&server, &signed(BY_PATH)).await.unwrap().status, 204, "once is once");
}

#[tokio::test]
async fn a_late_answer_is_late_and_its_work_is_done_at_once() {
    let server = server();
    server.cloud().set_faults([Fault::LatencyMs(300).until_cleared()]);
    let started = Instant::now();
    let request = signed(BY_PATH);
    let (answered, done_meanwhile) = tokio::join!(call(&server, &request), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.cloud().job_state(PROJECT, "100211").is_none() && server.cloud().requests()[0].status.is_none()
    });
    assert_eq!(answered.unwrap().status, 204);
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(done_meanwhile);
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_the_work() {
    for (fault, state) in [(Fault::Reset, Some(JobState::Waiting)), (Fault::LoseAnswer, None)] {
        let server = server();
        server.cloud().set_faults([fault.once()]);
        let cut = call(&server, &signed(BY_PATH)).await.map(|answered| answered.status);
        assert_eq!(cut.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "{fault:?}");
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), state, "{fault:?}");
        assert_eq!(server.cloud().requests()[0].status, None, "{fault:?}");
    }
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_and_others_do_not() {
    let server = server();
    let (first, second) = (server.cloud().issue_token(PROJECT), server.cloud().issue_token(PROJECT));
    server.cloud().set_faults([Fault::TokenRevoked.once()]);
    for (token, expected) in [(&first, 401), (&first, 401), (&second, 204)] {
        assert_eq!(call(&server, &with_token(token)).await.unwrap().status, expected);
    }
}

#[tokio::test]
async fn a_test_in_any_language_asks_by_http() {
    let server = server();
    let status_of = async |line: &str, body: &str| {
        let answered = call(&server, &with_body(line, body)).await.unwrap();
        (answered.status, answered.body)
    };
    let faults = r#"[{"fault":"reset","times":2},{"fault":"unavailable","service":"iam"}]"#;
    assert_eq!(status_of("PUT /_test/faults", faults).await.0, 204);
    let planned = [Fault::Reset.times(2), Fault::Unavailable.until_cleared().at(Service::Iam)];
    assert_eq!(server.cloud().faults(), planned);
    assert_eq!(status_of("PUT /_test/faults", r#"[{"fault":"reset","every":2}]"#).await.0, 400);
    assert_eq!(server.cloud().faults(), planned, "a mistake changes nothing");
    assert_eq!(status_of("GET /_test/faults", "").await.1[1]["service"], "iam");
    assert_eq!(status_of("POST /v3/auth/tokens", "{}").await.0, 503);
    assert_eq!(status_of("DELETE /_test/faults", "").await.0, 204);

    assert_eq!(status_of("PUT /_test/jobs/p/7", r#"{"state":"PROCESSING"}"#).await.0, 204);
    assert_eq!(status_of("GET /_test/jobs/p/7", "").await, (200, json!({ "state": "PROCESSING" })));
    assert_eq!(status_of("GET /_test/jobs/p/8", "").await.0, 404);
    assert_eq!(status_of("PUT /_test/jobs/p/7", r#"{"state":"LOST"}"#).await.0, 400);

    let issued = status_of("POST /_test/tokens", &json!({ "project_id": PROJECT }).to_string()).await.1;
    let token = issued["token"].as_str().unwrap();
    assert_eq!(call(&server, &with_token(token)).await.unwrap().error().0, 204);
    assert_eq!(status_of("DELETE /_test/tokens", "").await.0, 204);
    assert_eq!(call(&server, &with_token(token)).await.unwrap().error(), (401, "APIGW.0307"));
    assert_eq!(status_of("PUT /_test/clock", r#"{"offset_s":0}"#).await.0, 204);
    assert_eq!(call(&server, &signed(BY_PATH)).await.unwrap().error(), (401, "APIGW.0301"));
    assert_eq!(status_of("PATCH /_test/clock", "").await.0, 404);

    let (_, seen) = status_of("GET /_test/requests", "").await;
    let seen: Vec<_> = seen.as_array().unwrap().iter().map(|s| (&s["method"], &s["status"])).collect();
    assert_eq!(seen.len(), 4, "control requests are not the cloud's: {seen:?}");
    assert_eq!(seen[0], (&json!("POST"), &json!(503)));
    assert_eq!(status_of("DELETE /_test/requests", "").await.0, 204);
    assert_eq!(status_of("GET /_test/requests", "").await.1, json!([]));
}
