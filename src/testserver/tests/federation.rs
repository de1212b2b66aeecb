//! IAM's exchange of an id token for a temporary key.

use super::{
    iam::assert_no_token,
    keys::{Credential, assert_in_force, cancel_with, move_clock},
    *,
};

fn exchange_id_token(idp_id: &str, id_token: &str) -> String {
    let body = json!({ "auth": { "id_token": { "id": id_token } } });
    with_header(&with_body("POST /v3.0/OS-AUTH/id-token/tokens", &body.to_string()), "X-Idp-Id", idp_id)
}

fn exchange_token(token: &str, duration: &Value) -> String {
    let token = json!({ "id": token, "duration_seconds": duration });
    let body = json!({ "auth": { "identity": { "methods": ["token"], "token": token } } });
    with_body("POST /v3.0/OS-CREDENTIAL/securitytokens", &body.to_string())
}

async fn unscoped(server: &TestServer) -> String {
    let answered = call(server, &exchange_id_token("cluster", "the-id-token")).await;
    assert_eq!(answered.status, 201);
    answered.header("x-subject-token").unwrap().to_owned()
}

#[tokio::test]
async fn an_id_token_buys_an_unscoped_token_and_that_a_key() {
    let server = server();
    let token = unscoped(&server).await;
    let answered = call(&server, &exchange_token(&token, &json!(21_600))).await;
    assert_eq!(answered.status, 201);
    let credential = &answered.body["credential"];
    assert_eq!(credential.as_object().unwrap().len(), 4);
    assert_ends(&credential["expires_at"], "2026-01-15T14:30:", "2020-01-08T02:56:19.587000Z");
    let key = Credential::read(credential, ["access", "secret", "securitytoken"]);
    assert_in_force(&server, &key, TimeDelta::hours(6)).await;
}

#[tokio::test]
async fn an_unscoped_token_opens_no_project() {
    let server = server();
    let token = unscoped(&server).await;
    assert_eq!(call(&server, &with_token(&token)).await.error(), (401, "APIGW.0307"));
}

#[tokio::test]
async fn whoever_is_not_known_gets_no_token() {
    let server = server();
    let good = exchange_id_token("cluster", "the-id-token");
    for (what, request, expected) in [
        ("id token", exchange_id_token("cluster", "the-id-tokem"), 401),
        ("provider", exchange_id_token("other", "the-id-token"), 404),
        ("no provider", good.replace("X-Idp-Id: cluster\r\n", ""), 400),
        ("body", with_body("POST /v3.0/OS-AUTH/id-token/tokens", "{}"), 400),
        ("shape", good.replace(r#""id":"#, r#""ID":"#), 400),
    ] {
        assert_no_token(&call(&server, &request).await, expected, what);
    }
    assert_eq!(call(&server, &good.replacen("POST", "GET", 1)).await.status, 404);
}

#[tokio::test]
async fn a_key_is_bought_with_a_token_in_force_and_for_15_minutes_to_a_day() {
    let server = server();
    let token = unscoped(&server).await;
    let good = exchange_token(&token, &json!(900));
    for (what, request, expected) in [
        ("shortest", good.clone(), 201),
        ("longest", exchange_token(&token, &json!(86_400)), 201),
        ("as documented", exchange_token(&token, &Value::Null), 201),
        ("user token", exchange_token(&server.cloud().issue_token(PROJECT), &json!(900)), 201),
        ("too short", exchange_token(&token, &json!(899)), 400),
        ("too long", exchange_token(&token, &json!(86_401)), 400),
        ("text", exchange_token(&token, &json!("900")), 400),
        ("unknown token", exchange_token("guessed", &json!(900)), 401),
        ("method", good.replace("[\"token\"]", "[\"tokem\"]"), 400),
        ("body", with_body("POST /v3.0/OS-CREDENTIAL/securitytokens", "{}"), 400),
    ] {
        let answered = call(&server, &request).await;
        let outcome = (answered.status, answered.body["credential"].is_object());
        assert_eq!(outcome, (expected, expected == 201), "{what}");
    }
    move_clock(&server, TimeDelta::hours(25));
    assert_eq!(call(&server, &good).await.status, 401, "the token expired");
    move_clock(&server, TimeDelta::zero());
    server.cloud().revoke_tokens();
    assert_eq!(call(&server, &good).await.status, 401, "the token is revoked");
}

#[tokio::test]
async fn a_test_may_replace_the_id_token_and_choose_a_lifetime() {
    let server = server();
    let provider = options().identity_providers.remove(0);
    server.cloud().put_identity_provider(IdentityProvider { id_token: Secret::new("the-next"), ..provider });
    assert_eq!(call(&server, &exchange_id_token("cluster", "the-id-token")).await.status, 401);
    server.cloud().set_lifetime(Service::Iam, Some(TimeDelta::minutes(5)));
    let answered = call(&server, &exchange_id_token("cluster", "the-next")).await;
    let token = answered.header("x-subject-token").unwrap();
    let answered = call(&server, &exchange_token(token, &json!(21_600))).await;
    let key = Credential::read(&answered.body["credential"], ["access", "secret", "securitytoken"]);
    assert_eq!(cancel_with(&server, &key).await.status, 204);
    assert_in_force(&server, &key, TimeDelta::minutes(5)).await;
}
