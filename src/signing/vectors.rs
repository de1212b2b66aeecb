//! Compares every step with the official SDK's, for each case in `tests/data/sdk-hmac-sha256.jsonl` and `editing.jsonl`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{SigningKey, Timestamp, Unsigned, explain, is_set_by_signing, sign};
use crate::secret::Secret;

#[derive(Deserialize)]
struct Vector {
    id: String,
    method: String,
    request_target: String,
    headers_out: Vec<(String, String)>,
    body_b64: String,
    ak: String,
    sk: String,
    security_token: Option<String>,
    x_sdk_date: String,
    canonical_request: String,
    string_to_sign: String,
    signed_headers: String,
    authorization: String,
}

#[test]
fn every_step_of_every_vector_is_the_sdks() {
    let mut count = 0;
    for vectors in [
        include_str!("../../tests/data/sdk-hmac-sha256.jsonl"),
        include_str!("../../tests/data/editing.jsonl"),
    ] {
        for line in vectors.lines() {
            check(&serde_json::from_str(line).unwrap());
            count += 1;
        }
    }
    assert_eq!(count, 71 + 8);
}

fn check(vector: &Vector) {
    let id = &vector.id;
    let token = vector.security_token.as_deref().map(Secret::new);
    let key = SigningKey::of_vector(&vector.ak, &vector.sk, token);
    let at = Timestamp::parse(&vector.x_sdk_date).unwrap();
    let (path, query) = vector.request_target.split_once('?').unwrap_or((&vector.request_target, ""));
    let (added, given): (Vec<_>, Vec<_>) =
        vector.headers_out.iter().partition(|(name, _)| is_set_by_signing(name));
    let headers: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let body = base64(&vector.body_b64);
    let request = Unsigned { method: &vector.method, path, query, headers: &headers, body: &body };

    let explained = explain(&request, &key, at).unwrap_or_else(|e| panic!("{id}: {e}"));
    assert_eq!(explained.canonical_request, vector.canonical_request, "{id}");
    assert_eq!(explained.string_to_sign, vector.string_to_sign, "{id}");
    let signed = sign(&request, &key, at).unwrap();
    assert_eq!(signed.signed_headers(), vector.signed_headers, "{id}");
    assert_eq!(signed.authorization(), vector.authorization, "{id}");

    let mut ours: Vec<_> = signed.headers().collect();
    let mut theirs: Vec<_> = added.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    theirs.push(("Authorization", &vector.authorization));
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs, "{id}");
}

/// Decodes Base64.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}
