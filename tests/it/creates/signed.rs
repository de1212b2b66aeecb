//! Signed creates: the signature must cover the body that arrived.

use mpc_auth_proxy::{
    clock,
    secret::Secret,
    signing::{SigningKey, Timestamp, Unsigned, sign},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ALL, body, creates, made, nothing_is_created, policy};
use crate::harness::{Answer, Proxy, Setup, request};

const TARGET: &str = "/v1/media-prod/editing/jobs";

fn signed(body: &str, said: Option<&str>) -> String {
    let key = SigningKey::new("TRANSCODER0001", &Secret::new("made-up-for-this-proxy"), None).unwrap();
    let mut headers: Vec<(&str, &[u8])> = vec![("Host", b"localhost"), ("Content-Type", b"application/json")];
    headers.extend(said.map(|said| ("X-Sdk-Content-Sha256", said.as_bytes())));
    let unsigned =
        Unsigned { method: "POST", path: TARGET, query: "", headers: &headers, body: body.as_bytes() };
    let signed = sign(&unsigned, &key, Timestamp::from(clock::now())).unwrap();
    let mut lines = vec![format!("Content-Length: {}", body.len())];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {}", str::from_utf8(value).unwrap())));
    lines.extend(signed.headers().map(|(name, value)| format!("{name}: {value}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    format!("{}{body}", request("POST", TARGET, &lines))
}

fn with_signers() -> Proxy {
    let policy = policy(&[ALL]).replace(
        "editor-api: { identify: [ { listener: app } ] }",
        "transcoder: { identify: [ { sdk_signature: { access_key: TRANSCODER0001, secret_key_file: transcoder-sk } } ] }",
    );
    Setup::new().file("transcoder-sk", "made-up-for-this-proxy\n").policy(&policy).start()
}

fn is_unauthenticated(proxy: &Proxy, answer: &Answer, reason: &str) {
    answer.is_refusal(401, "PROXY.Unauthenticated");
    proxy.record(answer).says(json!({ "error.reason": reason, "caller.id": null, "upstream.attempts": 0 }));
}

#[test]
fn a_signature_proves_its_caller_by_the_body_that_it_covers() {
    let proxy = with_signers();
    let body = body("transcoder", "transcoder/1");
    let hash = hex::encode(Sha256::digest(&body));
    for said in [None, Some(hash.as_str())] {
        let answer = proxy.send(signed(&body, said));
        made(&answer);
        proxy
            .record(&answer)
            .says(json!({ "caller.id": "transcoder", "caller.identified_by": "sdk_signature" }));
    }
    for (said, reason) in [
        (Some("UNSIGNED-PAYLOAD"), "signature_payload"),
        (Some(&*hex::encode(Sha256::digest("{}"))), "signature_payload"),
        (Some(&*hash.to_uppercase()), "signature_payload"),
    ] {
        is_unauthenticated(&proxy, &proxy.send(signed(&body, said)), reason);
    }
    // A different body of the same length.
    let other = signed(&body, None).replace("raw/", "RAW/");
    is_unauthenticated(&proxy, &proxy.send(other), "signature_mismatch");
    assert_eq!(creates(&proxy).len(), 2);
}

#[test]
fn of_a_signature_whose_body_does_not_come_nobody_is_named() {
    let proxy = with_signers();
    let text = signed(&body("transcoder", "transcoder/1"), None);
    let mut wire = proxy.sending(&text[..text.len() - 9]);
    wire.half_close();
    let answer = wire.answer().refused(400, "PROXY.BadRequest");
    proxy.record(&answer).says(json!({ "error.reason": "body_cut", "caller.id": null }));
    // With a malformed signature or unknown key the body is not awaited.
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    for wrong in
        [head.replace("TRANSCODER0001", "TRANSCODER0002"), head.replace("X-Sdk-Date: 2", "X-Sdk-Date: 1")]
    {
        let mut wire = proxy.sending(format!("{wrong}\r\n\r\n"));
        wire.answer().is_refusal(401, "PROXY.Unauthenticated");
    }
    nothing_is_created(&proxy);
}
