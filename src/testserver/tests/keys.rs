//! Issued keys: their permissions, lifetime, and the cost of a wrong signature.
//!
//! What is not signed by the official SDK is signed by the proxy's own signing, with which the stand-in shares
//! nothing.

use super::*;
use crate::signing::{SigningKey, Unsigned, sign};

/// A client's key.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) access: String,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
}

impl Credential {
    /// Parses an issued key by the names of its three parts.
    pub(super) fn read(body: &Value, [access, secret, token]: [&str; 3]) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"));
        let token = Some(Secret::new(text(token)));
        Self { access: text(access).into(), secret: Secret::new(text(secret)), token }
    }

    /// The initial key.
    pub(super) fn permanent() -> Self {
        let AccessKey { id, secret, .. } = options().access_keys.remove(0);
        Self { access: id, secret, token: None }
    }

    /// The same with another secret key.
    pub(super) fn guessed(&self) -> Self {
        Self { secret: Secret::new("a-guess"), ..self.clone() }
    }
}

/// A request signed now by the server's clock.
pub(super) fn sign_with(server: &TestServer, key: &Credential, line: &str, body: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = [("host", b"localhost".as_slice()), ("x-project-id", PROJECT.as_bytes())];
    let unsigned = Unsigned { method, path, query, headers: &headers, body: body.as_bytes() };
    let signing_key = SigningKey::new(&key.access, &key.secret, key.token.clone()).unwrap();
    let signed = sign(&unsigned, &signing_key, server.cloud().now().into()).unwrap();
    let added: String = signed.headers().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
    with_header(&with_body(line, body), "X-Project-Id", &format!("{PROJECT}{added}"))
}

/// Cancels job 100211, which is set waiting each time.
pub(super) async fn cancel_with(server: &TestServer, key: &Credential) -> Answered {
    server.cloud().put_job(PROJECT, "100211", JobState::Waiting);
    call(server, &sign_with(server, key, &format!("DELETE {}", BY_PATH.0), "")).await
}

/// Moves the server's clock this far past the signing time of the requests.
pub(super) fn move_clock(server: &TestServer, by: TimeDelta) {
    server.cloud().set_clock_offset(signed_at() + by - clock::now());
}

/// Asserts that the key is valid for exactly this long after being issued.
pub(super) async fn assert_in_force(server: &TestServer, key: &Credential, lifetime: TimeDelta) {
    assert_eq!(cancel_with(server, key).await.status, 204);
    move_clock(server, lifetime - TimeDelta::minutes(1));
    assert_eq!(cancel_with(server, key).await.status, 204);
    move_clock(server, lifetime + TimeDelta::minutes(1));
    let answered = cancel_with(server, key).await;
    assert_eq!(answered.error(), (401, "APIGW.0301"));
    assert!(answered.message().contains("security token expired"), "{}", answered.message());
    move_clock(server, TimeDelta::zero());
}

#[tokio::test]
async fn a_key_that_was_handed_out_is_for_its_project_and_with_its_token_only() {
    let server = server();
    let key = pod_identity::key(&server).await;
    let other = Credential { token: Some(Secret::new("another")), ..key.clone() };
    assert_eq!(cancel_with(&server, &other).await.error(), (401, "APIGW.0301"));
    let without = Credential { token: None, ..key.clone() };
    assert_eq!(cancel_with(&server, &without).await.error(), (401, "APIGW.0301"));
    let elsewhere = sign_with(&server, &key, "DELETE /v2/elsewhere/editing/jobs/1", "");
    assert_eq!(call(&server, &elsewhere).await.error(), (401, "MPC.10208"));
    assert_eq!(cancel_with(&server, &key).await.status, 204);
}

#[tokio::test]
async fn a_revoked_key_is_unknown_and_others_are_not() {
    let server = server();
    let keys = [pod_identity::key(&server).await, pod_identity::key(&server).await];
    server.cloud().revoke_access_key(&keys[0].access);
    let answered = cancel_with(&server, &keys[0]).await;
    assert_eq!(answered.error(), (401, "APIGW.0301"));
    assert!(answered.message().ends_with(&format!("ak:{},err:ak not exist", keys[0].access)));
    assert_eq!(cancel_with(&server, &keys[1]).await.status, 204);
    server.cloud().revoke_temporary_keys();
    assert_eq!(cancel_with(&server, &keys[1]).await.error(), (401, "APIGW.0301"));
    assert_eq!(cancel_with(&server, &Credential::permanent()).await.status, 204);
}

#[tokio::test]
async fn five_bad_signatures_in_a_row_lock_the_key_for_everybody_for_five_minutes() {
    let server = server();
    let key = Credential::permanent();
    let attempts = || server.cloud().bad_signatures(&key.access).unwrap();
    for _ in 0..4 {
        assert!(cancel_with(&server, &key.guessed()).await.message().contains("verify aksk signature fail"));
    }
    assert_eq!(attempts(), Attempts { failures: 4, locked: false });
    assert_eq!(cancel_with(&server, &key).await.status, 204, "a good one is counted from");
    for failures in 1..=5 {
        cancel_with(&server, &key.guessed()).await;
        assert_eq!(attempts(), Attempts { failures, locked: failures == 5 });
    }
    let answered = cancel_with(&server, &key).await;
    assert_eq!(answered.error(), (401, "APIGW.0301"));
    assert!(answered.message().ends_with("AK access failed to reach the limit,forbidden."));
    assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(JobState::Waiting));
    let other = pod_identity::key(&server).await;
    assert_eq!(cancel_with(&server, &other).await.status, 204, "other keys are not locked");

    move_clock(&server, TimeDelta::minutes(4));
    assert_eq!(cancel_with(&server, &key).await.status, 401);
    move_clock(&server, TimeDelta::minutes(6));
    assert_eq!(attempts(), Attempts { failures: 0, locked: false });
    assert_eq!(cancel_with(&server, &key).await.status, 204);
}

#[tokio::test]
async fn a_request_that_is_malformed_or_old_or_without_its_token_is_no_bad_signature() {
    let server = server();
    let key = Credential::permanent();
    let good = sign_with(&server, &key, &format!("DELETE {}", BY_PATH.0), "");
    for _ in 0..6 {
        let bad = good.replace("SDK-HMAC", "HMAC");
        assert_eq!(call(&server, &bad).await.error(), (401, "APIGW.0301"));
    }
    move_clock(&server, TimeDelta::hours(1));
    for _ in 0..6 {
        assert_eq!(call(&server, &good).await.error(), (401, "APIGW.0301"));
    }
    assert_eq!(server.cloud().bad_signatures(&key.access).unwrap().failures, 0);
    let temporary = pod_identity::key(&server).await;
    for _ in 0..6 {
        cancel_with(&server, &Credential { token: None, ..temporary.clone() }).await;
    }
    assert_eq!(server.cloud().bad_signatures(&temporary.access).unwrap().failures, 0);
}

#[tokio::test]
async fn a_key_that_is_put_anew_is_not_locked() {
    let server = server();
    let key = Credential::permanent();
    for _ in 0..5 {
        cancel_with(&server, &key.guessed()).await;
    }
    assert_eq!(cancel_with(&server, &key).await.status, 401);
    server.cloud().put_access_key(options().access_keys.remove(0));
    assert_eq!(cancel_with(&server, &key).await.status, 204);
    assert_eq!(server.cloud().bad_signatures("nobody's"), None);
}
