//! Request signatures with keys that were issued for this proxy.
//!
//! A client built on Huawei's SDK signs every request. With a key pair made up for this proxy, unknown to the cloud, the
//! signature identifies the caller. [`crate::signing`] computes the canonical request, as it does for the cloud. Anybody who
//! sees a signed request can repeat it within [`WINDOW`], so on a network it belongs inside TLS. Not every SDK signs `Host`:
//! without it a signature is valid at every proxy that knows the key, so each proxy needs keys of its own.

use chrono::{DateTime, TimeDelta, Utc};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, HOST},
};
use subtle::ConstantTimeEq;

use super::{
    IdentityError, Presented,
    bearer::{is_sdk_signature, split_scheme},
};
use crate::reason::Reason;
use crate::signing::{self, Leeway, Payload, SigningKey, Timestamp, UNSIGNED_PAYLOAD, Unsigned};

/// A caller's signing key, and what its signatures must cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key, issued for this proxy only.
    pub key: SigningKey,
    /// Whether a signature must cover `Host`.
    pub require_signed_host: bool,
}

/// Returns the access keys in `Authorization` headers with the SDK's scheme.
pub(super) fn access_keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, rest) = split_scheme(value);
        let named = rest.strip_prefix(b"Access=").filter(|_| is_sdk_signature(scheme))?;
        named.split(|b| *b == b',').next()
    })
}

/// Checks a signature before the body is read: its form, its date, and that it covers the body. Only the body shows whether
/// it is right.
///
/// # Errors
/// [`IdentityError::WrongSignature`] with the reason.
pub(super) fn precheck(presented: &Presented<'_>, _: &Signer) -> Result<(), IdentityError> {
    let claimed = || {
        SignatureClaim::read(presented)?;
        match optional(presented.headers, &X_SDK_CONTENT_SHA256)? {
            Some(content) if !is_hash(content) => Err(Reason::SignaturePayload),
            _ => Ok(()),
        }
    };
    claimed().map_err(IdentityError::WrongSignature)
}

/// Verifies the signature of a request with its body.
///
/// # Errors
/// [`IdentityError::WrongSignature`] with the reason.
pub(super) fn verify(presented: &Presented<'_>, signer: &Signer) -> Result<(), IdentityError> {
    check(presented, signer).map_err(IdentityError::WrongSignature)
}

fn check(presented: &Presented<'_>, signer: &Signer) -> Result<(), Reason> {
    let SignatureClaim { authorization, date, signed } = SignatureClaim::read(presented)?;
    let hostless = !signed.iter().any(|(name, _)| *name == HOST.as_str());
    // `Host` is one of the listener's, as checked before. Only a signed one shows that the caller meant this proxy.
    if hostless && signer.require_signed_host {
        return Err(Reason::SignatureWithoutHost);
    }
    let (payload, otherwise) = payloads(presented)?;
    let (path, query) = presented.target.split_once('?').unwrap_or((presented.target, ""));
    let request = Unsigned { method: presented.method, path, query, headers: &signed, body: b"" };
    let is_that_of = |payload| {
        let leeway = Leeway { hostless, payload };
        let expected = signing::recompute(&request, &signer.key, date, leeway)
            .map_err(|_| Reason::SignatureUnsignable)?;
        // The whole value byte for byte, so no other spelling is accepted.
        Ok::<_, Reason>(expected.signed.authorization().as_bytes().ct_eq(authorization.as_bytes()))
    };
    let mut same = is_that_of(payload)?;
    if let Some(otherwise) = otherwise {
        same |= is_that_of(otherwise)?;
    }
    if same.into() { Ok(()) } else { Err(Reason::SignatureMismatch) }
}

struct SignatureClaim<'r> {
    authorization: &'r str,
    date: Timestamp,
    signed: Vec<(&'r str, &'r [u8])>,
}

impl<'r> SignatureClaim<'r> {
    fn read(presented: &Presented<'r>) -> Result<Self, Reason> {
        let headers = presented.headers;
        let authorization = deciding(headers, &AUTHORIZATION)?;
        let date =
            Timestamp::parse(deciding(headers, &X_SDK_DATE)?).map_err(|_| Reason::SignatureDateForm)?;
        check_date(date, presented.now)?;
        let (_, rest) = authorization.split_once(", SignedHeaders=").ok_or(Reason::SignatureForm)?;
        let (names, _) = rest.split_once(", Signature=").ok_or(Reason::SignatureForm)?;
        Ok(Self { authorization, date, signed: signed_headers(names, headers)? })
    }
}

/// Returns the payload that the signature must cover, and an alternative. With a body it must be the body's own hash, or the
/// signature would not cover what is executed. Without one, some SDKs that declare the body unsigned sign the empty hash
/// anyway.
fn payloads(presented: &Presented<'_>) -> Result<(Payload, Option<Payload>), Reason> {
    let content = optional(presented.headers, &X_SDK_CONTENT_SHA256)?;
    match presented.body {
        None => Ok((Payload::OfBody, (content == Some(UNSIGNED_PAYLOAD)).then_some(Payload::Unsigned))),
        Some(hash) if content.is_none_or(|content| content == hex::encode(hash)) => {
            Ok((Payload::Hash(hash), None))
        }
        Some(_) => Err(Reason::SignaturePayload),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Returns the signed headers as they arrived, without the date, which signing adds.
fn signed_headers<'h>(names: &'h str, headers: &'h HeaderMap) -> Result<Vec<(&'h str, &'h [u8])>, Reason> {
    let mut signed = Vec::with_capacity(8);
    let mut dated = false;
    for name in names.split(';') {
        if name == X_SDK_DATE.as_str() {
            dated = true;
            continue;
        }
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::SignatureForm)?;
        signed.push((name, single(headers, &known)?.as_bytes()));
    }
    if dated { Ok(signed) } else { Err(Reason::SignatureWithoutDate) }
}

fn check_date(date: Timestamp, now: DateTime<Utc>) -> Result<(), Reason> {
    let (earliest, latest) = (Timestamp::from(now - WINDOW), Timestamp::from(now + WINDOW));
    // The format has a fixed width, so texts compare like times.
    if (earliest.as_str()..=latest.as_str()).contains(&date.as_str()) {
        Ok(())
    } else {
        Err(Reason::SignatureDate)
    }
}

/// Returns a header that must occur exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Reason> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(Reason::SignatureHeaderTwice),
        (None, _) => Err(Reason::SignatureHeaderMissing),
    }
}

/// Returns a header that may occur at most once.
fn optional<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Reason> {
    match deciding(headers, name) {
        Err(Reason::SignatureHeaderMissing) => Ok(None),
        other => other.map(Some),
    }
}

/// Returns a header that must occur once, in one spelling, because some servers read `_` as `-`.
fn deciding<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Reason> {
    let fold = |b: u8| if b == b'_' { b'-' } else { b };
    let alike = |other: &HeaderName| other.as_str().bytes().map(fold).eq(name.as_str().bytes());
    if headers.keys().any(|other| other != name && alike(other)) {
        return Err(Reason::SignatureHeaderTwice);
    }
    single(headers, name)?.to_str().map_err(|_| Reason::SignatureForm)
}

/// The tolerance of the signing time, as at Huawei's gateway.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const X_SDK_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-sdk-content-sha256");

#[cfg(test)]
mod tests;
