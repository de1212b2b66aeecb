//! Is this request signed with a key that was issued for this proxy?
//!
//! A client built on Huawei's SDK signs whatever it sends. Given a key pair of its own, made up for this proxy, that
//! signature proves which caller it is; the cloud has never heard of the key. The canonical request is computed by
//! [`crate::signing`], the same that signs for the cloud. What the signature covers is this request only: whoever
//! sees it can send it once more within [`WINDOW`], so on a network it belongs inside TLS.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

use super::{
    IdentityError, Presented,
    bearer::{is_sdk_signature, split_scheme},
};
use crate::signing::{self, SigningKey, Timestamp, Unsigned};

/// The access keys that lines of `Authorization` name, where they have the SDK's scheme.
pub(super) fn access_keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, rest) = split_scheme(value);
        let named = rest.strip_prefix(b"Access=").filter(|_| is_sdk_signature(scheme))?;
        named.split(|b| *b == b',').next()
    })
}

/// Whether the request is signed with this key, whose access key it names.
///
/// # Errors
/// [`IdentityError::WrongSignature`], with what is wrong about it.
pub(super) fn verify(presented: &Presented<'_>, key: &SigningKey) -> Result<(), IdentityError> {
    check(presented, key).map_err(IdentityError::WrongSignature)
}

fn check(presented: &Presented<'_>, key: &SigningKey) -> Result<(), &'static str> {
    let headers = presented.headers;
    let authorization = deciding(headers, &AUTHORIZATION)?;
    let date = Timestamp::parse(deciding(headers, &X_SDK_DATE)?).map_err(|_| "X-Sdk-Date is not a time")?;
    check_date(date, presented.now)?;

    let (_, rest) = authorization.split_once(", SignedHeaders=").ok_or(FORM)?;
    let (names, _) = rest.split_once(", Signature=").ok_or(FORM)?;
    let signed = signed_headers(names, headers)?;
    let (path, query) = presented.target.split_once('?').unwrap_or((presented.target, ""));
    let request = Unsigned { method: presented.method, path, query, headers: &signed, body: b"" };
    let expected =
        signing::sign(&request, key, date).map_err(|_| "it is of a request that cannot be signed")?;
    // The whole value, byte for byte: there is no second way to write one, and none to be read in two.
    let same: bool = expected.authorization().as_bytes().ct_eq(authorization.as_bytes()).into();
    if same { Ok(()) } else { Err("it is not of this request and this key") }
}

/// The headers that the caller says it signed, as they arrived, apart from the date, which signing adds.
fn signed_headers<'h>(
    names: &'h str,
    headers: &'h HeaderMap,
) -> Result<Vec<(&'h str, &'h [u8])>, &'static str> {
    let mut signed = Vec::with_capacity(8);
    let mut dated = false;
    for name in names.split(';') {
        if name == X_SDK_DATE.as_str() {
            dated = true;
            continue;
        }
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| FORM)?;
        signed.push((name, single(headers, &known)?.as_bytes()));
    }
    // Without `host` in it, which signing insists on as well, a signature would be good for any proxy.
    if dated { Ok(signed) } else { Err("X-Sdk-Date is not signed") }
}

fn check_date(date: Timestamp, now: DateTime<Utc>) -> Result<(), &'static str> {
    let (earliest, latest) = (Timestamp::from(now - WINDOW), Timestamp::from(now + WINDOW));
    // The form is of fixed width, so the order of texts is the order of times.
    if (earliest.as_str()..=latest.as_str()).contains(&date.as_str()) {
        Ok(())
    } else {
        Err("X-Sdk-Date is more than 15 minutes off")
    }
}

/// A header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, &'static str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(TWICE),
        (None, _) => Err("a header that it covers is not there"),
    }
}

/// A header that decides, and is there in one spelling only: some servers read `_` as `-`.
fn deciding<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, &'static str> {
    let fold = |b: u8| if b == b'_' { b'-' } else { b };
    let alike = |other: &HeaderName| other.as_str().bytes().map(fold).eq(name.as_str().bytes());
    if headers.keys().any(|other| other != name && alike(other)) {
        return Err(TWICE);
    }
    single(headers, name)?.to_str().map_err(|_| FORM)
}

/// How far the signing time may be off, as at Huawei's gateway.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const TWICE: &str = "a header that it covers is there more than once";
const FORM: &str = "it is not of the form `Access=…, SignedHeaders=…, Signature=…`";

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use serde::Deserialize;

    use super::*;
    use crate::{identity::Peer, identity::PeerAddress, secret::Secret};

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
        key: SigningKey,
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
                key: SigningKey::of_vector(&vector.ak, &vector.sk, None),
            }
        }

        /// What the SDK sends to cancel a job.
        fn cancel() -> Self {
            Self::of(vectors().iter().find(|vector| vector.id == "cancel-v2-path").unwrap())
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
            let address = PeerAddress::Unix { uid: 1, gid: 1 };
            let peer =
                Peer { listener: "app".into(), address, certificate: None, bearer: false, local: true };
            let Self { method, target, headers, key } = self;
            verify(&Presented { peer: &peer, method, target, headers, now: now.parse().unwrap() }, key)
        }

        fn verify(&self) -> Result<(), IdentityError> {
            self.verify_at("2026-01-15T08:30:00Z")
        }
    }

    fn vectors() -> Vec<Vector> {
        let lines = include_str!("../../tests/data/sdk-hmac-sha256.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn what_the_official_sdk_signed_is_accepted() {
        let all = vectors();
        // No operation has a body, and a key for this proxy has no security token.
        let ours = all.iter().filter(|vector| vector.body_b64.is_empty() && vector.security_token.is_none());
        let mut count = 0;
        for vector in ours {
            let date = NaiveDateTime::parse_from_str(&vector.x_sdk_date, "%Y%m%dT%H%M%SZ").unwrap();
            let verified = Request::of(vector).verify_at(&date.and_utc().to_rfc3339());
            assert_eq!(verified, Ok(()), "{}", vector.id);
            count += 1;
        }
        assert_eq!((all.len(), count), (71, 62));
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
            ("another key", |r| Request {
                key: SigningKey::new(r.key.access_key(), &Secret::new("other"), None).unwrap(),
                ..r
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

    /// Right in every other way: signed by our own implementation.
    fn signed(names: &[(&'static str, &'static str)], drop_date: bool) -> Result<(), IdentityError> {
        let mut request = Request::cancel();
        let mut given: Vec<(&str, &[u8])> =
            names.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        if !names.iter().any(|(name, _)| *name == "host") {
            given.push(("host", b"h"));
        }
        let date = Timestamp::parse("20260115T083000Z").unwrap();
        let path = request.target.clone();
        let unsigned = Unsigned { method: "DELETE", path: &path, query: "", headers: &given, body: b"" };
        let value = signing::sign(&unsigned, &request.key, date).unwrap().authorization().to_owned();
        for (name, value) in names {
            request = request.set(name, value);
        }
        let value = if drop_date { value.replace(";x-sdk-date", "") } else { value };
        request.set("authorization", &value).verify()
    }

    #[test]
    fn host_and_date_must_be_signed_and_every_signed_header_be_there_once() {
        assert_eq!(signed(&[("host", "h")], false), Ok(()));
        assert_eq!(signed(&[("host", "h"), ("x-a", "1")], false), Ok(()));
        let wrong = |text| Err(IdentityError::WrongSignature(text));
        assert_eq!(signed(&[("host", "h")], true), wrong("X-Sdk-Date is not signed"));
        let no_host = Request::cancel().rewritten("host;", "").verify();
        assert_eq!(no_host, wrong("it is of a request that cannot be signed"));
        let missing = Request::cancel().rewritten("x-project-id", "x-not-there").verify();
        assert_eq!(missing, wrong("a header that it covers is not there"));
        for (name, value) in [
            ("authorization", "Bearer 0123456789abcdef"),
            ("x-sdk-date", "20260115T083000Z"),
            ("x_sdk_date", "20260115T083000Z"),
            ("x-project-id", "other"),
            ("host", "mpc.cn-north-4.myhuaweicloud.com"),
        ] {
            let mut twice = Request::cancel();
            twice.headers.append(name, value.parse().unwrap());
            assert_eq!(twice.verify(), wrong(TWICE), "{name}");
        }
    }

    #[test]
    fn a_signature_counts_for_a_quarter_of_an_hour() {
        let stale = Err(IdentityError::WrongSignature("X-Sdk-Date is more than 15 minutes off"));
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
}
