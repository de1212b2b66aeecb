//! Faults over real sockets.

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
        (Fault::Echo, (400, "MPC.10202")),
        (Fault::Garbage, (200, "")),
    ] {
        server.cloud().set_faults([fault.once()]);
        let answered = call(&server, &signed(BY_PATH)).await;
        assert_eq!(answered.error(), expected, "{fault:?}");
        assert_eq!(answered.header("retry-after"), (expected.0 == 429).then_some("7"), "{fault:?}");
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(JobState::Waiting), "{fault:?}");
    }
    assert_eq!(call(&server, &signed(BY_PATH)).await.status, 204, "once is once");
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
    assert_eq!(answered.status, 204);
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(done_meanwhile);
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_the_work() {
    for (fault, state) in [(Fault::Reset, Some(JobState::Waiting)), (Fault::LoseAnswer, None)] {
        let server = server();
        server.cloud().set_faults([fault.once()]);
        let cut = try_call(&server, &signed(BY_PATH)).await.map(|answered| answered.status);
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
        assert_eq!(call(&server, &with_token(token)).await.status, expected);
    }
}

/// A successful request to each service that issues credentials.
fn granted() -> [(Service, String, u16); 4] {
    [
        (Service::Iam, iam::sign_in("clipper", "right", PROJECT), 201),
        (Service::Sts, sts::with_oidc(|_| {}), 200),
        (Service::Metadata, metadata::open_session("X-Metadata-Token-Ttl-Seconds: 60\r\n"), 200),
        (Service::PodIdentity, pod_identity::ask("the-pods-token", "{}"), 200),
    ]
}

#[tokio::test]
async fn every_service_can_fail_and_alone() {
    let server = server();
    for (service, request, usual) in granted() {
        for (fault, expected) in [
            (Fault::Throttled { retry_after_s: 7 }, 429),
            (Fault::InternalError, 500),
            (Fault::Unavailable, 503),
            (Fault::Unauthorized, 401),
            (Fault::Echo, 400),
            (Fault::Garbage, 200),
        ] {
            let other = if service == Service::Sts { Service::Iam } else { Service::Sts };
            server.cloud().set_faults([fault.once().at(other), fault.once().at(service)]);
            let answered = call(&server, &request).await;
            let handed_out = answered.header("x-subject-token").is_some() || answered.text.contains("securi");
            let outcome = (answered.status, handed_out && fault != Fault::Echo);
            assert_eq!(outcome, (expected, false), "{fault:?} {service:?}");
            assert_eq!(call(&server, &request).await.status, usual, "{fault:?} {service:?}");
        }
        server.cloud().set_faults([Fault::LoseAnswer.once().at(service)]);
        let cut = try_call(&server, &request).await.map(|answered| answered.status);
        assert_eq!(cut.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "{service:?}");
    }
}

#[tokio::test]
async fn each_service_words_its_own_errors() {
    let server = server();
    for (service, request, _) in granted() {
        server.cloud().set_faults([Fault::InternalError.once().at(service)]);
        let answered = call(&server, &request).await;
        let wording = match service {
            Service::Iam => answered.body["error"]["message"].as_str(),
            Service::Sts => answered.body["error_msg"].as_str(),
            Service::Metadata | Service::PodIdentity | Service::Mpc => Some(&*answered.text),
        };
        assert_eq!(wording, Some("Internal service error"), "{service:?}");
    }
}

#[tokio::test]
async fn an_echo_repeats_what_was_sent() {
    let server = server();
    for (service, request, secret) in [
        (Service::Iam, iam::sign_in("clipper", "right", PROJECT), "right"),
        (Service::Sts, sts::with_oidc(|_| {}), "the-id-token"),
        (Service::PodIdentity, pod_identity::ask("the-pods-token", "{}"), "authorization: the-pods-token"),
        (Service::Mpc, with_token("my-token"), "x-auth-token: my-token"),
    ] {
        server.cloud().set_faults([Fault::Echo.once().at(service)]);
        let answered = call(&server, &request).await;
        assert_eq!((answered.status, answered.text.contains(secret)), (400, true), "{}", answered.text);
    }
}

#[tokio::test]
async fn who_hangs_answers_nothing_and_does_nothing() {
    let server = server();
    server.cloud().set_faults([Fault::Hang.once()]);
    let hung = tokio::time::timeout(Duration::from_millis(200), call(&server, &signed(BY_PATH))).await;
    assert!(hung.is_err());
    assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(JobState::Waiting));
    assert_eq!(server.cloud().requests()[0].status, None);
    assert_eq!(call(&server, &signed(BY_PATH)).await.status, 204);
    server.stop().await;
}
