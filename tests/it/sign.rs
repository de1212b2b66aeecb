//! Signed requests as upstream sees them: a valid signature or token, the headers of the contract, and nothing else
//! from the caller.
//!
//! The stand-in cloud verifies every credential by its own code: a 204 proves a signature.

use std::collections::BTreeSet;

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{AccessKey, Options, Seen},
};
use serde_json::json;

use crate::harness::{ACCESS_KEY, PROJECT, Proxy, SECRET_KEY, Setup, cancel, cloud, request, wait_for};

#[test]
fn only_the_headers_of_the_contract_arrive_whatever_the_caller_sends() {
    let proxy = Setup::new().start();
    for headers in [&[][..], ODD_HEADERS, HOP_BY_HOP, &[TRACE[0], TRACE[1]]] {
        proxy.cloud().clear_requests();
        proxy.queue("100211");
        let answer = proxy.send(request("DELETE", "/v2/media-prod/editing/jobs/100211", headers));
        assert_eq!(answer.status, 204, "{headers:?}");
        proxy.record(&answer).says(json!({ "outcome": "forwarded", "credential.name": "prod" }));
        let seen = proxy.upstream_saw_one();
        let mut expected = CONTRACT.to_vec();
        if headers.contains(&TRACE[0]) {
            expected.extend(["traceparent", "tracestate"]);
        }
        assert_eq!(names(&seen), expected.into_iter().collect(), "{headers:?}");
        assert_eq!(seen.method, "DELETE");
        assert_eq!(seen.target, format!("/v2/{PROJECT}/editing/jobs/100211"));
        assert_eq!(seen.header("host"), Some(endpoint(&proxy).as_str()));
        assert_eq!(seen.header("user-agent"), Some(concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!(
            (seen.header("x-project-id"), seen.header("x-project_id")),
            (Some(PROJECT), Some(PROJECT))
        );
        assert_eq!(signed_headers(&seen), "host;x-project-id;x-sdk-date");
        assert!(!format!("{:?}", seen.headers).contains("evil"), "{seen:#?}");
        assert!(seen.body.is_empty());
    }
}

#[test]
fn the_project_header_is_spelled_as_the_project_says() {
    for (written, sent, signed) in [
        ("both", &["x-project-id", "x-project_id"][..], "host;x-project-id;x-sdk-date"),
        ("hyphen", &["x-project-id"], "host;x-project-id;x-sdk-date"),
        ("underscore", &["x-project_id"], "host;x-sdk-date"),
    ] {
        let proxy = Setup::new().project(&format!("project_header: {written}")).start();
        let answer = proxy.send(cancel("100211"));
        assert_eq!(answer.status, 204, "{written}");
        proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
        let seen = proxy.upstream_saw_one();
        let project_headers: Vec<&str> =
            names(&seen).into_iter().filter(|name| name.starts_with("x-project")).collect();
        assert_eq!(project_headers, sent);
        assert_eq!(signed_headers(&seen), signed, "{written}");
    }
}

#[test]
fn the_url_form_is_kept_or_changed_as_the_project_says() {
    let forms = [
        ("path", "/v2/{}/editing/jobs/100211"),
        ("query", "/v2/{}/editing/job?job_id=100211"),
        ("v1", "/v1/{}/editing/jobs?job_id=100211"),
    ];
    for to_send in [None, Some(forms[0]), Some(forms[1]), Some(forms[2])] {
        let setup = Setup::new();
        let proxy = match to_send {
            Some((form, _)) => setup.project(&format!("cancel_form: {form}")).start(),
            None => setup.start(),
        };
        for (_, received) in forms {
            proxy.cloud().clear_requests();
            proxy.queue("100211");
            let answer =
                proxy.send(request("DELETE", &received.replace("{}", "media-prod"), &[])).with_status(204);
            let route = received.replace("{}", "{project_id}").replace("100211", "{job_id}");
            proxy.record(&answer).says(json!({ "http.route": route, "mpc.job_id": "100211" }));
            let sent = to_send.map_or(received, |(_, url)| url);
            assert_eq!(proxy.upstream_saw_one().target, sent.replace("{}", PROJECT));
        }
    }
}

#[test]
fn a_token_goes_as_x_auth_token_and_nothing_is_signed() {
    let setup = Setup::new();
    let token = setup.cloud().issue_token(PROJECT);
    let proxy =
        setup.file("token", &format!("{token}\n")).credential("{ token_file: { path: token } }").start();
    let answer =
        proxy.send(request("DELETE", "/v2/media-prod/editing/jobs/100211", ODD_HEADERS)).with_status(204);
    proxy.record(&answer).says(json!({ "credential.name": "prod", "credential.key_hint": null }));
    let seen = proxy.upstream_saw_one();
    let mut expected: BTreeSet<&str> = CONTRACT.iter().copied().collect();
    expected.retain(|name| !["authorization", "x-sdk-date"].contains(name));
    expected.insert("x-auth-token");
    assert_eq!(names(&seen), expected);
    assert_eq!(seen.header("x-auth-token"), Some(&*token));
}

#[test]
fn temporary_keys_bring_their_security_token_signed() {
    let key = AccessKey {
        security_token: Some(Secret::new("temporary-token+/=")),
        ..AccessKey::permanent(ACCESS_KEY, SECRET_KEY, PROJECT)
    };
    let proxy = Setup::new()
        .with_cloud(cloud(Options { access_keys: vec![key], ..Options::default() }))
        .file("st", "temporary-token+/=\n")
        .credential("{ files: { access_key: ak, secret_key: sk, security_token: st } }")
        .start();
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "credential.key_hint": "HARN", "outcome": "forwarded" }));
    let seen = proxy.upstream_saw_one();
    assert_eq!(seen.header("x-security-token"), Some("temporary-token+/="));
    assert_eq!(signed_headers(&seen), "host;x-project-id;x-sdk-date;x-security-token");
}

#[test]
fn keys_may_come_from_the_environment() {
    let proxy = Setup::new()
        .credential("{ environment: {} }")
        .variable("HUAWEICLOUD_SDK_AK", ACCESS_KEY)
        .variable("HUAWEICLOUD_SDK_SK", SECRET_KEY)
        .start();
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "credential.name": "prod", "credential.key_hint": "HARN" }));
    proxy.upstream_saw(1);
}

#[test]
fn without_a_credential_nothing_is_sent_until_there_is_one() {
    // Mounted, and not written yet.
    let proxy = Setup::new().file("ak", "\n").file("sk", "\n").start();
    let answer = proxy.send(cancel("100211")).refused(503, "PROXY.NoCredential");
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "when the files are read again");
    proxy.record(&answer).says(json!({
        "policy.effect": "allow", "credential.name": null, "credential.key_hint": null,
        "upstream.attempts": 0, "outcome": "refused", "error.type": "PROXY.NoCredential",
    }));
    assert_eq!(proxy.probe("/readyz").status, 503);
    proxy.upstream_saw(0);

    proxy.write("ak", ACCESS_KEY);
    proxy.write("sk", &format!("{SECRET_KEY}\n"));
    wait_for("readiness", || (proxy.probe("/readyz").status == 200).then_some(()));
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "credential.key_hint": "HARN", "outcome": "forwarded" }));
    proxy.upstream_saw(1);
}

fn names(seen: &Seen) -> BTreeSet<&str> {
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "{names:?}");
    once
}

fn signed_headers(seen: &Seen) -> &str {
    let authorization = seen.header("authorization").unwrap();
    authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap()
}

fn endpoint(proxy: &Proxy) -> String {
    proxy.endpoint().replace("http://", "")
}

const CONTRACT: &[&str] =
    &["host", "user-agent", "accept", "x-project-id", "x-project_id", "x-sdk-date", "authorization"];

const TRACE: [&str; 2] =
    ["traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate: a=1,b=2"];

const ODD_HEADERS: &[&str] = &[
    "User-Agent: evil/1.0",
    "Accept: text/evil",
    "Accept-Encoding: gzip, evil",
    "Content-Type: application/evil",
    "Content-Length: 0",
    "Authorization: SDK-HMAC-SHA256 Access=evil, SignedHeaders=host;x-sdk-date, Signature=evil",
    "Proxy-Authorization: Basic evil-evil-evil-evil",
    "X-Auth-Token: evil",
    "X-Security-Token: evil",
    "X-Sdk-Date: 20200101T000000Z-evil",
    "X-Sdk-Content-Sha256: evil",
    "X-Project-Id: evil",
    "X-Project_Id: evil",
    "X_Project_Id: evil",
    "X-Domain-Id: evil",
    "Cookie: session=evil",
    "Referer: http://evil.example/",
    "Forwarded: for=evil;host=evil",
    "X-Forwarded-For: 10.0.0.1, evil",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: evil",
    "X-Original-URL: /v2/evil",
    "X-Rewrite-URL: /v2/evil",
    "X-HTTP-Method-Override: evil",
    "X-Real-IP: evil",
    "X-Request-Id: evil",
    "Proxy-Request-Id: evil",
    "Proxy-Status: evil",
    "Via: 1.1 evil",
    "Range: bytes=0-evil",
    "If-Match: \"evil\"",
    "Idempotency-Key: evil",
    "x-evil: one",
    "X-EVIL: two",
    "traceparent: evil",
    "tracestate: evil=1",
    "baggage: evil=1",
    "Max-Forwards: 0",
    "Pragma: evil",
    "Cache-Control: evil",
];

const HOP_BY_HOP: &[&str] = &[
    "Connection: x-evil, host, authorization, x-project-id, x-sdk-date",
    "Connection: keep-alive, user-agent",
    "Keep-Alive: timeout=5, evil",
    "Proxy-Connection: evil",
    "Proxy-Authenticate: evil",
    "x-evil: evil",
];
