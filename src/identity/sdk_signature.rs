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
    let authorization = single(headers, &AUTHORIZATION)?.to_str().map_err(|_| FORM)?;
    let date = single(headers, &X_SDK_DATE)?.to_str().ok().and_then(|text| Timestamp::parse(text).ok());
    let date = date.ok_or("X-Sdk-Date is not a time")?;
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

/// A header that decides is there once, and in one spelling: some servers read `_` as `-`.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, &'static str> {
    let fold = |b: u8| if b == b'_' { b'-' } else { b };
    let alike = |other: &HeaderName| other.as_str().bytes().map(fold).eq(name.as_str().bytes().map(fold));
    let mut lines = headers.iter().filter(|(other, _)| alike(other));
    match (lines.next(), lines.next()) {
        (Some((found, value)), None) if found == name => Ok(value),
        (Some(_), _) => Err("a header that it covers is there more than once"),
        (None, _) => Err("a header that it covers is not there"),
    }
}

/// How far the signing time may be off, as at Huawei's gateway.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const FORM: &str = "it is not of the form `Access=…, SignedHeaders=…, Signature=…`";
