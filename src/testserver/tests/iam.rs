//! IAM's sign-in with a password.

use super::keys::move_clock;
use super::*;

pub(super) fn sign_in(user: &str, password: &str, project: &str) -> String {
    let body = json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": {
            "name": user, "password": password, "domain": { "name": "account" } } } },
        "scope": { "project": { "id": project } } } });
    with_body("POST /v3/auth/tokens?nocatalog=true", &body.to_string())
}

/// Asserts IAM's error with this status, and no token.
pub(super) fn assert_no_token(answered: &Answered, expected: u16, what: &str) {
    assert_eq!((answered.status, &answered.body["error"]["code"]), (expected, &json!(expected)), "{what}");
    assert_eq!(answered.header("x-subject-token"), None, "{what}");
}

#[tokio::test]
async fn a_password_buys_a_token() {
    let server = server();
    let answered = call(&server, &sign_in("clipper", "right", PROJECT)).await;
    assert_eq!(answered.status, 201);
    assert_ends(&answered.body["token"]["expires_at"], "2026-01-16T08:30:", "2020-01-04T09:05:22.701000Z");
    let token = answered.header("x-subject-token").unwrap();
    assert_eq!(call(&server, &with_token(token)).await.status, 204);

    for (what, request, expected) in [
        ("password", sign_in("clipper", "wrong", PROJECT), 401),
        ("user", sign_in("nobody", "right", PROJECT), 401),
        ("project", sign_in("clipper", "right", "other"), 403),
        ("body", with_body("POST /v3/auth/tokens", "{}"), 400),
        ("method", sign_in("clipper", "right", PROJECT).replace("[\"password\"]", "[\"ticket!!\"]"), 400),
    ] {
        assert_no_token(&call(&server, &request).await, expected, what);
    }
}

#[tokio::test]
async fn five_wrong_passwords_in_a_row_lock_the_account_for_15_minutes() {
    let server = server();
    let status = async |password: &str| call(&server, &sign_in("clipper", password, PROJECT)).await.status;
    let attempts = || server.cloud().wrong_passwords("account", "clipper").unwrap();
    for _ in 0..4 {
        assert_eq!(status("wrong").await, 401);
    }
    assert_eq!(attempts(), Attempts { failures: 4, locked: false });
    assert_eq!(status("right").await, 201);
    for failures in 1..=5 {
        assert_eq!(status("wrong").await, 401);
        assert_eq!(attempts(), Attempts { failures, locked: failures == 5 });
    }
    assert_eq!(status("right").await, 401, "the right one does not help");
    move_clock(&server, TimeDelta::minutes(14));
    assert_eq!(status("right").await, 401);
    move_clock(&server, TimeDelta::minutes(16));
    assert_eq!((attempts().locked, status("right").await), (false, 201));
    assert_eq!(server.cloud().wrong_passwords("account", "nobody"), None);
}

#[tokio::test]
async fn a_new_password_unlocks_the_account() {
    let server = server();
    for _ in 0..5 {
        call(&server, &sign_in("clipper", "wrong", PROJECT)).await;
    }
    let password = Secret::new("new");
    server.cloud().put_user(User { password, ..options().users.remove(0) });
    assert_eq!(call(&server, &sign_in("clipper", "right", PROJECT)).await.status, 401);
    assert_eq!(call(&server, &sign_in("clipper", "new", PROJECT)).await.status, 201);
}

#[tokio::test]
async fn a_token_lives_as_long_as_the_test_says() {
    let server = server();
    server.cloud().set_lifetime(Service::Iam, Some(TimeDelta::minutes(5)));
    let answered = call(&server, &sign_in("clipper", "right", PROJECT)).await;
    assert_ends(&answered.body["token"]["expires_at"], "2026-01-15T08:35:", "2020-01-04T09:05:22.701000Z");
    let tokens = [answered.header("x-subject-token").unwrap(), &server.cloud().issue_token(PROJECT)];
    for token in tokens {
        server.cloud().put_job(PROJECT, "100211", JobState::Waiting);
        assert_eq!(call(&server, &with_token(token)).await.status, 204);
    }
    move_clock(&server, TimeDelta::minutes(6));
    for token in tokens {
        assert_eq!(call(&server, &with_token(token)).await.error(), (401, "APIGW.0307"));
    }
}
