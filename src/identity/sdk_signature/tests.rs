//! Which signatures identify a caller: those of the official SDKs, and no others.

use chrono::NaiveDateTime;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    identity::tests::{presented, unix},
    secret::Secret,
};

/// A line of `tests/data/sdk-hmac-sha256.jsonl`: a request as the official SDK signed it.
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
    authorization: String,
}

struct Request {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    signer: Signer,
}

impl Request {
    fn of(vector: &Vector) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &vector.headers_out {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers.append(AUTHORIZATION, vector.authorization.parse().unwrap());
        Self {
            method: vector.method.clone(),
            target: vector.request_target.clone(),
            headers,
            body: signing::base64(&vector.body_b64),
            signer: Signer {
                key: SigningKey::of_vector(&vector.ak, &vector.sk, None),
                require_signed_host: false,
            },
        }
    }

    fn named(id: &str, vectors: &[Vector]) -> Self {
        Self::of(vectors.iter().find(|vector| vector.id == id).unwrap())
    }

    /// The SDK's request to cancel a job.
    fn cancel() -> Self {
        Self::named("cancel-v2-path", &vectors())
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Changes the text of `Authorization`.
    fn rewritten(self, from: &str, to: &str) -> Self {
        let value = self.headers[AUTHORIZATION].to_str().unwrap();
        assert!(value.contains(from), "{value}");
        let value = value.replacen(from, to, 1);
        self.set("authorization", &value)
    }

    fn verify_at(&self, now: &str) -> Result<(), IdentityError> {
        self.judged_at(now, verify)
    }

    fn judged_at(
        &self,
        now: &str,
        judge: fn(&Presented<'_>, &Signer) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let peer = unix("app", 1, 1);
        let Self { method, target, headers, body, signer } = self;
        let body = (!body.is_empty()).then(|| Sha256::digest(body).into());
        let now = now.parse().unwrap();
        judge(&Presented { method, target, body, now, ..presented(&peer, headers) }, signer)
    }

    fn verify(&self) -> Result<(), IdentityError> {
        self.verify_at("2026-01-15T08:30:00Z")
    }
}

fn vectors() -> Vec<Vector> {
    let mut all = read(include_str!("../../../tests/data/sdk-hmac-sha256.jsonl"));
    all.extend(read(include_str!("../../../tests/data/editing.jsonl")));
    all
}

fn read(lines: &str) -> Vec<Vector> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Requests as Go's and PHP's SDKs sign them.
fn of_others() -> Vec<Vector> {
    read(include_str!("../../../tests/data/sdk-others/signed.jsonl"))
}

fn other(id: &str) -> Request {
    Request::named(id, &of_others())
}

#[test]
fn what_the_official_sdk_signed_is_accepted() {
    let all = vectors();
    // A key for this proxy has no security token, and `UNSIGNED-PAYLOAD` proves no body.
    let unsigned = |vector: &Vector| {
        !vector.body_b64.is_empty() && vector.headers_out.iter().any(|(_, value)| value == UNSIGNED_PAYLOAD)
    };
    let ours = all.iter().filter(|vector| vector.security_token.is_none() && !unsigned(vector));
    let mut count = 0;
    for vector in ours {
        let date = NaiveDateTime::parse_from_str(&vector.x_sdk_date, "%Y%m%dT%H%M%SZ").unwrap();
        let verified = Request::of(vector).verify_at(&date.and_utc().to_rfc3339());
        assert_eq!(verified, Ok(()), "{}", vector.id);
        count += 1;
    }
    assert_eq!((all.len(), count), (71 + 8, 67 + 8));
}

#[test]
fn an_sdk_need_not_sign_the_host_unless_its_caller_must() {
    let mut count = 0;
    for vector in of_others() {
        let (id, mut request) = (&vector.id, Request::of(&vector));
        assert_eq!(request.verify(), Ok(()), "{id}");
        request.signer.require_signed_host = true;
        let has_host = vector.authorization.contains("host;");
        let expected = if has_host { Ok(()) } else { Err(Reason::SignatureWithoutHost) };
        assert_eq!(request.verify(), expected.map_err(IdentityError::WrongSignature), "{id}");
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn a_signature_without_host_or_payload_is_still_of_this_request() {
    let wrong = Err(IdentityError::WrongSignature(Reason::SignatureMismatch));
    type Change = fn(Request) -> Request;
    let changes: &[(&str, &str, Change)] = &[
        ("go-v2", "another job", |r| Request { target: r.target.replace("100211", "100212"), ..r }),
        ("go-v2", "another project", |r| r.set("x-project-id", "other")),
        ("go-v2", "another agent", |r| r.set("user-agent", "curl")),
        ("go-v2", "a date less", |r| r.set("x-sdk-date", "20260115T082959Z")),
        ("go-v2", "a host more", |r| r.rewritten("user-agent;", "host;user-agent;")),
        // A header outside of the signature covers nothing.
        ("php-v2", "said no more", |mut r| {
            r.headers.remove(X_SDK_CONTENT_SHA256);
            r.rewritten("x-sdk-content-sha256;", "")
        }),
        ("php-v2", "said in other words", |r| r.set("x-sdk-content-sha256", "unsigned-payload")),
        ("php-v2", "said otherwise", |r| {
            let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            r.set("x-sdk-content-sha256", nothing)
        }),
        ("php-v2", "another job", |r| Request { target: r.target.replace("100211", "100212"), ..r }),
        ("php-said-beside", "said no more", |mut r| {
            r.headers.remove(X_SDK_CONTENT_SHA256);
            r
        }),
    ];
    for (id, what, change) in changes {
        assert_eq!(change(other(id)).verify(), wrong, "{id}: {what}");
    }
    let undated = other("go-v2").rewritten(";x-sdk-date", "").verify();
    assert_eq!(undated, Err(IdentityError::WrongSignature(Reason::SignatureWithoutDate)));
}

#[test]
fn the_access_key_is_found_in_whatever_has_the_scheme() {
    for (value, expected) in [
        ("SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=0", Some("AK")),
        ("sdk-hmac-sha256   Access=AK", Some("AK")),
        ("SDK-HMAC-SHA256 Access=", Some("")),
        ("SDK-HMAC-SHA256 Credential=AK", None),
        ("Bearer Access=AK", None),
    ] {
        let headers = [(AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
        let found: Vec<&[u8]> = access_keys(&headers).collect();
        assert_eq!(found, expected.map(str::as_bytes).into_iter().collect::<Vec<_>>(), "{value}");
    }
}

#[test]
fn the_signature_is_of_this_request_and_no_other() {
    type Change = fn(Request) -> Request;
    let changes: &[(&str, Change)] = &[
        ("another key", |mut r| {
            r.signer.key = SigningKey::new(r.signer.key.access_key(), &Secret::new("other"), None).unwrap();
            r
        }),
        ("another method", |r| Request { method: "GET".into(), ..r }),
        ("another job", |r| Request { target: r.target.replace("100211", "100212"), ..r }),
        ("a query more", |r| Request { target: format!("{}?a=b", r.target), ..r }),
        ("another host", |r| r.set("host", "other.example")),
        ("another date", |r| r.set("x-sdk-date", "20260115T083001Z")),
        ("another project", |r| r.set("x-project-id", "other")),
        ("another signature", |r| r.rewritten("Signature=7", "Signature=8")),
        ("a shorter signature", |r| r.rewritten("074e", "")),
        ("an upper-case signature", |r| r.rewritten("Signature=74e2", "Signature=74E2")),
        ("another scheme's spelling", |r| r.rewritten("SDK-HMAC", "sdk-hmac")),
        ("spaces", |r| r.rewritten(", ", ",  ")),
        ("no spaces", |r| r.rewritten(", ", ",")),
        ("more behind it", |r| r.rewritten("074e", "074e, Signature=00")),
        ("a header less", |r| r.rewritten("content-type;", "")),
        ("an upper-case name", |r| r.rewritten("content-type", "Content-Type")),
        ("another order", |r| r.rewritten("content-type;host", "host;content-type")),
    ];
    for (what, change) in changes {
        let refused = change(Request::cancel()).verify();
        assert!(matches!(refused, Err(IdentityError::WrongSignature(_))), "{what}: {refused:?}");
    }
    assert_eq!(Request::cancel().verify(), Ok(()));
}

/// A request with these headers, otherwise valid, signed by our own implementation.
fn signed(mut request: Request, headers: &[(&'static str, &str)]) -> Request {
    let given: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let Request { method, target, body, signer, .. } = &request;
    let unsigned = Unsigned { method, path: target, query: "", headers: &given, body };
    let date = Timestamp::parse("20260115T083000Z").unwrap();
    let value = signing::sign(&unsigned, &signer.key, date).unwrap().authorization().to_owned();
    for (name, value) in headers {
        request = request.set(name, value);
    }
    request.set("authorization", &value)
}

#[test]
fn the_date_must_be_signed_and_every_signed_header_be_there_once() {
    let right = signed(Request::cancel(), &[("host", "h")]);
    assert_eq!(right.verify(), Ok(()));
    assert_eq!(signed(Request::cancel(), &[("host", "h"), ("x-a", "1")]).verify(), Ok(()));
    let wrong = |text| Err(IdentityError::WrongSignature(text));
    assert_eq!(right.rewritten(";x-sdk-date", "").verify(), wrong(Reason::SignatureWithoutDate));
    let no_host = Request::cancel().rewritten("host;", "").verify();
    assert_eq!(no_host, wrong(Reason::SignatureMismatch));
    let missing = Request::cancel().rewritten("x-project-id", "x-not-there").verify();
    assert_eq!(missing, wrong(Reason::SignatureHeaderMissing));
    for (name, value) in [
        ("authorization", "Bearer 0123456789abcdef"),
        ("x-sdk-date", "20260115T083000Z"),
        ("x_sdk_date", "20260115T083000Z"),
        ("x-project-id", "other"),
        ("host", "mpc.cn-north-4.myhuaweicloud.com"),
        ("x_sdk_content_sha256", "UNSIGNED-PAYLOAD"),
        ("x-sdk-content-sha256", "UNSIGNED-PAYLOAD"),
    ] {
        let mut twice = Request::cancel();
        if name == "x-sdk-content-sha256" {
            twice.headers.append(name, value.parse().unwrap());
        }
        twice.headers.append(name, value.parse().unwrap());
        assert_eq!(twice.verify(), wrong(Reason::SignatureHeaderTwice), "{name}");
    }
}

#[test]
fn a_signature_counts_for_a_quarter_of_an_hour() {
    let stale = Err(IdentityError::WrongSignature(Reason::SignatureDate));
    for (now, expected) in [
        ("2026-01-15T08:15:00Z", Ok(())),
        ("2026-01-15T08:14:59Z", stale),
        ("2026-01-15T08:45:00.999Z", Ok(())),
        ("2026-01-15T08:45:01Z", stale),
        ("2027-01-15T08:30:00Z", stale),
    ] {
        assert_eq!(Request::cancel().verify_at(now), expected, "{now}");
    }
    let mut undated = Request::cancel();
    undated.headers.remove(X_SDK_DATE);
    assert!(undated.verify().is_err());
    assert!(Request::cancel().set("x-sdk-date", "2026-01-15T08:30:00Z").verify().is_err());
}

/// The SDK's request to create a job.
fn create() -> Request {
    Request::named("create-v1-concat-non-ascii", &vectors())
}

/// The same with an unsigned header about its payload.
fn saying(content: &str) -> Request {
    create().set("x-sdk-content-sha256", content)
}

fn hash_of(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[test]
fn a_signature_over_a_body_is_of_this_body() {
    let wrong = |text| Err(IdentityError::WrongSignature(text));
    assert_eq!(create().verify(), Ok(()));
    for body in [b"{}".to_vec(), Vec::new(), [create().body.as_slice(), b" "].concat()] {
        assert_eq!(Request { body, ..create() }.verify(), wrong(Reason::SignatureMismatch));
    }
    assert_eq!(saying(&hash_of(&create().body)).verify(), Ok(()), "what it is anyway");
    for content in
        ["UNSIGNED-PAYLOAD", "", &hash_of(b""), &hash_of(b"{}"), &hash_of(&create().body).to_uppercase()]
    {
        assert_eq!(saying(content).verify(), wrong(Reason::SignaturePayload), "{content}");
    }
}

/// A create whose signature covers a header with the payload's hash, as by the SDKs.
fn signed_as(content: &str, body: &[u8]) -> Request {
    let mut request = Request { body: body.to_vec(), ..create() };
    request.headers.remove("content-type");
    signed(request, &[("host", "h"), ("x-sdk-content-sha256", content)])
}

#[test]
fn a_signature_that_leaves_the_body_out_is_no_proof_of_a_create() {
    let body = b"{\"user_data\":\"editor-api/1\"}";
    let own = hash_of(body);
    for (content, expected) in [(own.as_str(), true), ("UNSIGNED-PAYLOAD", false), (&hash_of(b"{}"), false)] {
        let request = signed_as(content, body);
        assert_eq!(request.verify().is_ok(), expected, "{content}");
        let other = Request { body: b"[]".to_vec(), ..request };
        assert!(other.verify().is_err(), "{content}: another body");
    }
}

#[test]
fn a_body_is_awaited_only_where_its_signature_may_cover_it() {
    let anticipated = |request: &Request, now| request.judged_at(now, precheck);
    let now = "2026-01-15T08:30:00Z";
    let awaited = Request { body: Vec::new(), ..create() };
    assert_eq!(anticipated(&awaited, now), Ok(()));
    let guessed = awaited.rewritten("Signature=", "Signature=0");
    assert_eq!(anticipated(&guessed, now), Ok(()), "that shows when the body is there");
    assert_eq!(anticipated(&saying(&hash_of(b"{}")), now), Ok(()), "so does that");
    for content in ["UNSIGNED-PAYLOAD", "", "e3b0"] {
        let refused = anticipated(&saying(content), now);
        assert_eq!(refused, Err(IdentityError::WrongSignature(Reason::SignaturePayload)), "{content}");
    }
    assert!(anticipated(&create(), "2026-01-15T08:45:01Z").is_err(), "too late");
    assert!(anticipated(&create().rewritten(";x-sdk-date", ""), now).is_err(), "no date");
    assert!(anticipated(&create().rewritten(", SignedHeaders=", ""), now).is_err(), "no form");
}
