//! The pod identity agent of CCE.

use super::keys::{Credential, assert_in_force, cancel_with};
use super::*;

const PARTS: [&str; 3] = ["accessKeyId", "secretAccessKey", "securityToken"];

pub(super) fn ask(token: &str, body: &str) -> String {
    with_header(&with_body("POST /pod-identity", body), "Authorization", token)
}

/// A key for the pod.
pub(super) async fn key(server: &TestServer) -> Credential {
    let answered = call(server, &ask("the-pods-token", "{}")).await;
    Credential::read(&answered.body["credentials"], PARTS)
}

#[tokio::test]
async fn a_pod_shows_its_token_and_gets_a_key() {
    let server = server();
    let answered = call(&server, &ask("the-pods-token", "{}")).await;
    assert_eq!(answered.status, 200);
    let credentials = &answered.body["credentials"];
    assert_eq!(credentials.as_object().unwrap().len(), 4);
    assert_ends(&credentials["expiration"], "2026-01-15T14:30:", "2022-09-07T03:27:51.158Z");
    assert_in_force(&server, &Credential::read(credentials, PARTS), TimeDelta::hours(6)).await;
}

#[tokio::test]
async fn whatever_is_not_the_pods_request_gets_no_key() {
    let server = server();
    let good = ask("the-pods-token", "{}");
    for (what, request, expected) in [
        ("token", ask("the-pods-tokem", "{}"), 401),
        ("scheme", ask("Bearer the-pods-token", "{}"), 401),
        ("no token", with_body("POST /pod-identity", "{}"), 401),
        ("two tokens", with_header(&good, "Authorization", "the-pods-token"), 401),
        ("no body", ask("the-pods-token", ""), 400),
        ("a body", ask("the-pods-token", r#"{"a":1}"#), 400),
        ("a list", ask("the-pods-token", "[]"), 400),
        ("method", good.replacen("POST", "GET", 1), 404),
        ("path", good.replace("/pod-identity", "/pod-identity/"), 404),
        ("query", good.replace("/pod-identity", "/pod-identity?a"), 404),
    ] {
        let answered = call(&server, &request).await;
        assert_eq!((answered.status, answered.text.contains("accessKeyId")), (expected, false), "{what}");
    }
}

#[tokio::test]
async fn a_pods_token_can_be_replaced_and_its_keys_short_lived() {
    let server = server();
    let token = Secret::new("the-next-token");
    server.cloud().put_pod(Pod { token, ..options().pods.remove(0) });
    assert_eq!(call(&server, &ask("the-pods-token", "{}")).await.status, 401);
    server.cloud().set_lifetime(Service::PodIdentity, Some(TimeDelta::zero()));
    let answered = call(&server, &ask("the-next-token", "{}")).await;
    let stillborn = Credential::read(&answered.body["credentials"], PARTS);
    assert_eq!(cancel_with(&server, &stillborn).await.error(), (401, "APIGW.0301"));
    server.cloud().set_lifetime(Service::PodIdentity, None);
    let answered = call(&server, &ask("the-next-token", "{}")).await;
    assert_eq!(
        cancel_with(&server, &Credential::read(&answered.body["credentials"], PARTS)).await.status,
        204
    );
}
