//! Request signatures by keys that were issued for this proxy.
//!
//! A client built on Huawei's SDK signs whatever it sends. Given a key pair of its own, made up for this proxy, that
//! signature proves which caller it is; the cloud has never heard of the key. The canonical request is computed by
//! [`crate::signing`], the same that signs for the cloud. What the signature covers is this request only: whoever
//! sees it can send it once more within [`WINDOW`], so on a network it belongs inside TLS. Not every SDK signs `Host`:
//! without it a signature is good at every proxy that knows the key, which is why each has a key of its own.

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

/// A caller that signs, and what its signatures must cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key, which was issued for this proxy alone.
    pub key: SigningKey,
    /// Whether a signature that does not cover `Host` is refused.
    pub require_signed_host: bool,
}

/// The access keys that lines of `Authorization` name, where they have the SDK's scheme.
pub(super) fn access_keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, rest) = split_scheme(value);
        let named = rest.strip_prefix(b"Access=").filter(|_| is_sdk_signature(scheme))?;
        named.split(|b| *b == b',').next()
    })
}

/// Whether a request whose body is yet to come may be signed by this caller, whose access key it names: it is of the form,
/// its date is in its window, and its signature is to cover the body. That it is right shows when the body is there.
///
/// # Errors
/// [`IdentityError::WrongSignature`], with what is wrong about it.
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

/// Whether the request is signed by this caller, whose access key it names, with the body it has.
///
/// # Errors
/// [`IdentityError::WrongSignature`], with what is wrong about it.
pub(super) fn verify(presented: &Presented<'_>, signer: &Signer) -> Result<(), IdentityError> {
    check(presented, signer).map_err(IdentityError::WrongSignature)
}

fn check(presented: &Presented<'_>, signer: &Signer) -> Result<(), Reason> {
    let SignatureClaim { authorization, date, signed } = SignatureClaim::read(presented)?;
    let hostless = !signed.iter().any(|(name, _)| *name == HOST.as_str());
    // That it is the listener's `Host` was looked at before; whether it was meant for this one, only the caller can say.
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
        // The whole value, byte for byte: there is no second way to write one, and none to be read in two.
        Ok::<_, Reason>(expected.signed.authorization().as_bytes().ct_eq(authorization.as_bytes()))
    };
    let mut same = is_that_of(payload)?;
    if let Some(otherwise) = otherwise {
        same |= is_that_of(otherwise)?;
    }
    if same.into() { Ok(()) } else { Err(Reason::SignatureMismatch) }
}

/// What a request says of its signature.
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

/// What the signature may cover in place of the body, and what else. Of a body it is the body's own hash and nothing
/// else, or what was proved would not be what is carried out. Where there is none, some SDKs that say that theirs is not
/// covered sign the hash of nothing all the same.
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

/// The headers that the caller says it signed, as they arrived, apart from the date, which signing adds.
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
    // The form is of fixed width, so the order of texts is the order of times.
    if (earliest.as_str()..=latest.as_str()).contains(&date.as_str()) {
        Ok(())
    } else {
        Err(Reason::SignatureDate)
    }
}

/// A header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Reason> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(Reason::SignatureHeaderTwice),
        (None, _) => Err(Reason::SignatureHeaderMissing),
    }
}

/// A header that decides if it is there.
fn optional<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Reason> {
    match deciding(headers, name) {
        Err(Reason::SignatureHeaderMissing) => Ok(None),
        other => other.map(Some),
    }
}

/// A header that decides, and is there in one spelling only: some servers read `_` as `-`.
fn deciding<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Reason> {
    let fold = |b: u8| if b == b'_' { b'-' } else { b };
    let alike = |other: &HeaderName| other.as_str().bytes().map(fold).eq(name.as_str().bytes());
    if headers.keys().any(|other| other != name && alike(other)) {
        return Err(Reason::SignatureHeaderTwice);
    }
    single(headers, name)?.to_str().map_err(|_| Reason::SignatureForm)
}

/// How far the signing time may be off, as at Huawei's gateway.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const X_SDK_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-sdk-content-sha256");

#[cfg(test)]
mod tests;
