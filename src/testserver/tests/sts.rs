//! STS: agencies, assumed with an id token or an access key.

use super::keys::{Credential, assert_in_force, cancel_with, move_clock, sign_with};
use super::*;

const PARTS: [&str; 3] = ["access_key_id", "secret_access_key", "security_token"];

pub(super) fn asked(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({
        "agency_urn": "iam::account:agency:by-key",
        "agency_session_name": "mpc-auth-proxy",
        "duration_seconds": 900,
    });
    change(&mut body);
    body
}

pub(super) fn with_oidc(change: impl FnOnce(&mut Value)) -> String {
    let body = asked(|body| {
        body["agency_urn"] = json!("iam::account:agency:by-token");
        body["provider_urn"] = json!("iam::account:oidcProvider:cluster");
        body["id_token"] = json!("the-id-token");
        change(body);
    });
    with_body("POST /v5/agencies/assume-with-oidc", &body.to_string())
}

pub(super) fn assume(server: &TestServer, key: &Credential, body: &Value) -> String {
    sign_with(server, key, "POST /v5/agencies/assume", &body.to_string())
}

async fn assumed(server: &TestServer, key: &Credential, body: &Value) -> Answered {
    call(server, &assume(server, key, body)).await
}

#[tokio::test]
async fn an_id_token_assumes_an_agency_that_trusts_its_provider() {
    let server = server();
    let answered = call(&server, &with_oidc(|_| {})).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let credentials = &answered.body["credentials"];
    assert_eq!(credentials.as_object().unwrap().len(), 4);
    assert_ends(&credentials["expiration"], "2026-01-15T08:45:", "2022-09-07T03:27:51.158Z");
    let urn = "sts::account::assumed-agency:by-token/mpc-auth-proxy";
    assert_eq!(answered.body["assumed_agency"]["urn"], urn);
    assert_eq!(answered.body["provider"], "iam::account:oidcProvider:cluster");
    assert_in_force(&server, &Credential::read(credentials, PARTS), TimeDelta::minutes(15)).await;

    let session_policy = with_oidc(|body| {
        body["policy"] = json!("{}");
        body["policy_ids"] = json!(["p1"]);
        body.as_object_mut().unwrap().remove("duration_seconds");
    });
    let answered = call(&server, &session_policy).await;
    let key = Credential::read(&answered.body["credentials"], PARTS);
    assert_in_force(&server, &key, TimeDelta::hours(1)).await;
}

#[tokio::test]
async fn an_access_key_assumes_an_agency_that_trusts_it() {
    let server = server();
    let answered = assumed(&server, &Credential::permanent(), &asked(|_| {})).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let key = Credential::read(&answered.body["credentials"], PARTS);
    let urn = "sts::account::assumed-agency:by-key/mpc-auth-proxy";
    assert_eq!(answered.body["assumed_agency"]["urn"], urn);
    assert_in_force(&server, &key, TimeDelta::minutes(15)).await;
}

#[tokio::test]
async fn what_both_refuse() {
    let server = server();
    type Change = fn(&mut Value);
    let changes: [(&str, Change, (u16, &str)); 8] = [
        ("agency", |b| b["agency_urn"] = json!("iam::account:agency:none"), (404, "STS5.1106")),
        ("short name", |b| b["agency_session_name"] = json!("x"), (400, "STS5.1001")),
        ("long name", |b| b["agency_session_name"] = json!("x".repeat(129)), (400, "STS5.1001")),
        ("odd name", |b| b["agency_session_name"] = json!("a b"), (400, "STS5.1001")),
        ("short", |b| b["duration_seconds"] = json!(899), (400, "STS5.1001")),
        ("long", |b| b["duration_seconds"] = json!(43_201), (400, "STS5.1001")),
        ("unknown field", |b| b["durationSeconds"] = json!(900), (400, "STS5.1001")),
        ("no name", |b| drop(b.as_object_mut().unwrap().remove("agency_session_name")), (400, "STS5.1001")),
    ];
    for (what, change, expected) in changes {
        let answered = call(&server, &with_oidc(change)).await;
        assert_eq!(answered.error(), expected, "{what}");
        let answered = assumed(&server, &Credential::permanent(), &asked(change)).await;
        assert_eq!(answered.error(), expected, "{what}");
        assert_eq!(answered.body["request_id"].as_str(), answered.header("x-request-id"), "{what}");
    }
    let answered = call(&server, &with_oidc(|b| b["agency_urn"] = json!("iam::account:agency:by-key"))).await;
    assert_eq!(answered.error(), (403, "PAP5.0001"), "it trusts a key, not the provider");
    let by_token = asked(|b| b["agency_urn"] = json!("iam::account:agency:by-token"));
    let answered = assumed(&server, &Credential::permanent(), &by_token).await;
    assert_eq!(answered.error(), (403, "PAP5.0001"), "it trusts the provider, not a key");
}

#[tokio::test]
async fn an_id_token_that_is_not_the_providers_assumes_nothing() {
    let server = server();
    for (name, value) in [("id_token", "the-id-tokem"), ("provider_urn", "iam::account:oidcProvider:other")] {
        let answered = call(&server, &with_oidc(|body| body[name] = json!(value))).await;
        assert_eq!(answered.error(), (401, "STS5.1201"), "{name}");
    }
}

#[tokio::test]
async fn a_bad_signature_assumes_nothing_and_counts_as_one() {
    let server = server();
    let key = Credential::permanent();
    let request = assume(&server, &key, &asked(|_| {}));
    for (what, request) in [
        ("unsigned", with_body("POST /v5/agencies/assume", &asked(|_| {}).to_string())),
        ("another body", request.replace(":900", ":901")),
        (
            "a user token",
            with_token("t").replacen("DELETE", "POST", 1).replace(BY_PATH.0, "/v5/agencies/assume"),
        ),
    ] {
        assert_eq!(call(&server, &request).await.error(), (401, "APIGW.0301"), "{what}");
    }
    for _ in 0..4 {
        assert_eq!(assumed(&server, &key.guessed(), &asked(|_| {})).await.error(), (401, "APIGW.0301"));
    }
    assert!(server.cloud().bad_signatures(&key.access).unwrap().locked);
    assert_eq!(assumed(&server, &key, &asked(|_| {})).await.error(), (401, "APIGW.0301"));
    assert_eq!(cancel_with(&server, &key).await.error(), (401, "APIGW.0301"), "it is locked everywhere");
}

#[tokio::test]
async fn a_temporary_key_assumes_for_an_hour_at_most() {
    let server = server();
    let base = pod_identity::key(&server).await;
    server.cloud().put_agency(agency("chained", Trusted::AccessKey(base.access.clone())));
    let asked_for = |seconds: u32| {
        asked(|body| {
            body["agency_urn"] = json!("iam::account:agency:chained");
            body["duration_seconds"] = json!(seconds);
        })
    };
    assert_eq!(assumed(&server, &base, &asked_for(3601)).await.error(), (400, "STS5.1001"));
    let answered = assumed(&server, &base, &asked_for(3600)).await;
    let key = Credential::read(&answered.body["credentials"], PARTS);
    assert_eq!(cancel_with(&server, &key).await.status, 204);
    move_clock(&server, TimeDelta::hours(7));
    let late = assumed(&server, &base, &asked_for(3600)).await;
    assert_eq!(late.error(), (401, "APIGW.0301"), "its base expired");
}
