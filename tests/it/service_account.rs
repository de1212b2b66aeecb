//! Kubernetes service accounts: bearer tokens verified offline.

use serde_json::json;

use crate::harness::{Proxy, Setup, TOKEN, request, wait_for};

const JWKS: &str = include_str!("../data/service-account/jwks.json");
const POLICY: &str = "version: 1
callers:
  oncall:
    identify:
      - service_account: { namespace: media, name: oncall, audience: mpc-auth-proxy, jwks_file: jwks.json }
  editor-api:
    identify:
      - service_account: { namespace: media, name: editor-api, audience: mpc-auth-proxy, jwks_file: jwks.json }
  script: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";

fn start() -> Proxy {
    Setup::new()
        .listeners(&["{ name: app, bind: 127.0.0.1:0, bearer: true }"])
        .file("jwks.json", JWKS)
        .policy(POLICY)
        .start()
}

/// One of the tokens of `tests/data/service-account`.
fn token(name: &str) -> String {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../data/service-account/tokens.json")).unwrap();
    all[name].as_str().unwrap().to_owned()
}

fn with(headers: &[String]) -> String {
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    request("DELETE", "/v2/media-prod/editing/jobs/100211", &headers)
}

#[test]
fn a_token_proves_its_service_account() {
    let proxy = start();
    for (header, name, caller) in [
        ("Authorization", "right, until 2100", "oncall"),
        ("Proxy-Authorization", "right, until 2100, of the editor", "editor-api"),
    ] {
        proxy.queue("100211");
        let answer = proxy.send(with(&[format!("{header}: Bearer {}", token(name))]));
        assert_eq!(answer.status, 204, "{answer:#?}");
        proxy.record(&answer).says(json!({ "caller.id": caller, "caller.identified_by": "service_account" }));
    }
    for seen in proxy.upstream_saw(2) {
        assert!(!format!("{seen:?}").contains("eyJ"), "a token went upstream: {seen:?}");
    }
    assert!(!proxy.log().contains("eyJ") && !proxy.printed().contains("eyJ"), "a token was written down");
}

#[test]
fn a_token_that_is_not_right_in_every_way_is_refused() {
    let proxy = start();
    for (name, why) in [
        ("right", "expired"),
        ("with alg none", "malformed"),
        ("with HS256 and the public key as PEM", "not signed by a known key"),
        ("with another key", "not signed by a known key"),
        ("with other claims", "not signed by a known key"),
    ] {
        let answer = proxy
            .send(with(&[format!("Authorization: Bearer {}", token(name))]))
            .refused(401, "PROXY.Unauthenticated");
        assert_eq!(answer.error_msg(), format!("invalid service-account token: {why}"), "{name}");
    }
    proxy.upstream_saw(0);
}

#[test]
fn tokens_of_two_callers_are_a_conflict() {
    let proxy = start();
    let account = format!("Authorization: Bearer {}", token("right, until 2100"));
    let editor = format!("Proxy-Authorization: Bearer {}", token("right, until 2100, of the editor"));
    let script = format!("Proxy-Authorization: Bearer {TOKEN}");
    for other in [editor, script] {
        proxy.send(with(&[account.clone(), other])).is_refusal(401, "PROXY.Unauthenticated");
    }
    proxy.upstream_saw(0);
}

#[test]
fn keys_are_replaced_while_it_runs() {
    let proxy = start();
    let request = with(&[format!("Authorization: Bearer {}", token("right, until 2100"))]);
    assert_eq!(proxy.send(&request).status, 204);
    let mut set: serde_json::Value = serde_json::from_str(JWKS).unwrap();
    set["keys"].as_array_mut().unwrap().retain(|key| key["kid"] == "p256");
    proxy.write("jwks.json", &set.to_string());
    wait_for("the new keys", || (proxy.send(&request).status == 401).then_some(()));
}
