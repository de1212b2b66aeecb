//! Callers using Huawei's SDK, identified by a key pair made for this proxy.

use mpc_auth_proxy::{
    clock,
    secret::Secret,
    signing::{Leeway, Payload, SigningKey, Timestamp, Unsigned, recompute},
};
use serde_json::json;

use crate::harness::{ACCESS_KEY, Proxy, Setup, TOKEN, cancel, request};

const TARGET: &str = "/v1/media-prod/editing/jobs?job_id=100211";
const POLICY: &str = "version: 1
callers:
  transcoder:
    identify: [ { sdk_signature: { access_key: TRANSCODER0001, secret_key_file: transcoder-sk } } ]
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
  door: { identify: [ { listener: door } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";

fn start() -> Proxy {
    Setup::new()
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: door, bind: 127.0.0.1:0 }",
            "{ name: tokens, bind: 127.0.0.1:0, bearer: true }",
        ])
        .file("transcoder-sk", "made-up-for-this-proxy\n")
        .policy(POLICY)
        .start()
}

type Headers<'h> = &'h [(&'h str, &'h [u8])];

/// A request by an SDK with this key: every header signed, including `Host`.
fn signed(access_key: &str, secret_key: &str, more: &[&str]) -> String {
    let headers: Headers<'_> =
        &[("Host", b"localhost"), ("X-Project-Id", b"media-prod"), ("Content-Type", b"application/json")];
    sent((access_key, secret_key), headers, Leeway::default(), more)
}

/// A request by an SDK that signs these headers and not `Host`.
fn hostless(host: &str, headers: Headers<'_>, payload: Payload) -> String {
    let leeway = Leeway { hostless: true, payload };
    sent(("TRANSCODER0001", "made-up-for-this-proxy"), headers, leeway, &[&format!("Host: {host}")])
}

/// A request with these headers, what the key signs of them, and more lines.
fn sent(key: (&str, &str), headers: Headers<'_>, leeway: Leeway, more: &[&str]) -> String {
    let key = SigningKey::new(key.0, &Secret::new(key.1), None).unwrap();
    let (path, query) = TARGET.split_once('?').unwrap();
    let unsigned = Unsigned { method: "DELETE", path, query, headers, body: b"" };
    let signed = recompute(&unsigned, &key, Timestamp::from(clock::now()), leeway).unwrap().signed;
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", str::from_utf8(value).unwrap())).collect();
    lines.extend(signed.headers().map(|(name, value)| format!("{name}: {value}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain(more.iter().copied()).collect();
    request("DELETE", TARGET, &lines)
}

/// As Go's SDK signs: `user-agent;x-project-id;x-sdk-date`.
fn as_go(host: &str) -> String {
    hostless(
        host,
        &[("User-Agent", b"huaweicloud-usdk-go/3.0"), ("X-Project-Id", b"media-prod")],
        Payload::OfBody,
    )
}

/// As PHP's SDK signs: a text for the hash of the empty body.
fn as_php() -> String {
    hostless(
        "localhost",
        &[("X-Project-Id", b"media-prod"), ("X-Sdk-Content-Sha256", b"UNSIGNED-PAYLOAD")],
        Payload::Unsigned,
    )
}

fn transcoders(more: &[&str]) -> String {
    signed("TRANSCODER0001", "made-up-for-this-proxy", more)
}

#[test]
fn a_signature_with_a_key_for_this_proxy_proves_its_caller() {
    let proxy = start();
    for listener in ["app", "tokens"] {
        proxy.queue("100211");
        let answer = proxy.send_to(listener, transcoders(&[]));
        assert_eq!(answer.status, 204, "{answer:#?}");
        proxy
            .record(&answer)
            .says(json!({ "caller.id": "transcoder", "caller.identified_by": "sdk_signature" }));
    }
    for seen in proxy.upstream_saw(2) {
        let seen = format!("{seen:?}");
        assert!(seen.contains(ACCESS_KEY) && !seen.contains("TRANSCODER0001"), "{seen}");
    }
}

#[test]
fn the_sdks_of_go_and_php_prove_their_caller_too() {
    let proxy = start();
    for signed in [as_go("localhost"), as_php()] {
        proxy.queue("100211");
        let answer = proxy.send(&signed);
        assert_eq!(answer.status, 204, "{answer:#?}");
        proxy
            .record(&answer)
            .says(json!({ "caller.id": "transcoder", "caller.identified_by": "sdk_signature" }));
    }
    for seen in proxy.upstream_saw(2) {
        let seen = format!("{seen:?}").to_ascii_lowercase();
        assert!(
            seen.contains(&ACCESS_KEY.to_ascii_lowercase()) && !seen.contains("transcoder0001"),
            "{seen}"
        );
        assert!(!seen.contains("unsigned-payload") && !seen.contains("usdk-go"), "{seen}");
        assert!(seen.contains("signedheaders=") && seen.contains("host;x-project-id;x-sdk-date"), "{seen}");
    }
}

#[test]
fn what_leaves_out_the_host_or_the_payload_is_still_checked() {
    let proxy = start();
    proxy.send(as_go("evil.example")).is_refusal(421, "PROXY.WrongHost");
    for altered in [
        as_go("localhost").replace("job_id=100211", "job_id=100212"),
        as_php().replace("job_id=100211", "job_id=100212"),
        as_php().replace("UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOADS"),
        as_php()
            .replace("UNSIGNED-PAYLOAD", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        as_php().replace("X-Sdk-Content-Sha256: UNSIGNED-PAYLOAD\r\n", ""),
        as_php().replace(
            "UNSIGNED-PAYLOAD\r\n",
            "UNSIGNED-PAYLOAD\r\nX-Sdk-Content-Sha256: UNSIGNED-PAYLOAD\r\n",
        ),
    ] {
        proxy.send(&altered).is_refusal(401, "PROXY.Unauthenticated");
    }
    proxy.upstream_saw(0);
}

#[test]
fn a_caller_may_be_asked_to_sign_the_host() {
    let policy = POLICY.replace("transcoder-sk }", "transcoder-sk, require_signed_host: true }");
    let proxy = Setup::new()
        .file("transcoder-sk", "made-up-for-this-proxy\n")
        .policy(&policy)
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: door, bind: 127.0.0.1:0 }",
            "{ name: tokens, bind: 127.0.0.1:0, bearer: true }",
        ])
        .start();
    let refused = proxy.send(as_go("localhost")).refused(401, "PROXY.Unauthenticated");
    assert!(refused.error_msg().contains("Host is not signed"), "{refused:#?}");
    proxy.upstream_saw(0);
    assert_eq!(proxy.send(transcoders(&[])).status, 204);
}

#[test]
fn a_wrong_signature_is_refused_also_where_something_weaker_would_do() {
    let proxy = start();
    let forged = signed("TRANSCODER0001", "guessed", &[]);
    let replayed = transcoders(&[]).replace("job_id=100211", "job_id=100212");
    for request in [&forged, &replayed] {
        for listener in ["app", "door", "tokens"] {
            proxy.send_to(listener, request).is_refusal(401, "PROXY.Unauthenticated");
        }
    }
    proxy.upstream_saw(0);
}

#[test]
fn a_signature_and_the_proof_of_another_caller_are_a_conflict() {
    let proxy = start();
    proxy.send_to("door", transcoders(&[])).is_refusal(401, "PROXY.Unauthenticated");
    let token = format!("Proxy-Authorization: Bearer {TOKEN}");
    proxy.send_to("tokens", transcoders(&[&token])).is_refusal(401, "PROXY.Unauthenticated");
    proxy
        .send_to("app", transcoders(&["X-Sdk-Date: 20260115T083000Z"]))
        .is_refusal(401, "PROXY.Unauthenticated");
    proxy.upstream_saw(0);
}

/// SDKs sign with any key; callers identified otherwise configure dummies.
#[test]
fn a_signature_with_any_other_key_is_neither_a_proof_nor_an_offence() {
    let proxy = start();
    let dummy = signed("DUMMY", "dummy", &[]);
    let answer = proxy.send_to("door", &dummy);
    assert_eq!(answer.status, 204, "{answer:#?}");
    proxy.record(&answer).says(json!({ "caller.id": "door", "caller.identified_by": "listener" }));
    proxy.send_to("app", &dummy).is_refusal(401, "PROXY.Unauthenticated");
    proxy.send_to("app", cancel("100211")).is_refusal(401, "PROXY.Unauthenticated");
    proxy.upstream_saw(1);
}
