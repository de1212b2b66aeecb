//! Verifies signatures of access keys.
//!
//! It shares no code with the proxy's signing: the two test each other. Messages are the gateway's own if Huawei documents
//! them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{
    AccessKey, Seen,
    canonical::{Unproven, canonical_request, sha256, single},
    secrets::same,
};

/// The claim of a request: which key signed it, and when.
pub(super) struct Claim<'r> {
    /// The access key id.
    pub(super) access: &'r str,
    request: &'r Seen,
    signed: Vec<&'r str>,
    date: &'r str,
    signature: &'r str,
}

impl<'r> Claim<'r> {
    /// Parses the claim, and checks the grammar and the date.
    pub(super) fn read(request: &'r Seen, now: DateTime<Utc>) -> Result<Self, Unproven> {
        let authorization = single(request, "authorization")?;
        let (access, names, signature) = parse(authorization).ok_or(Unproven::Grammar)?;
        let signed: Vec<&str> = names.split(';').collect();
        if !signed.is_sorted_by(|a, b| a < b) || names.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Unproven::SignedHeaders);
        }
        single(request, "host")?;
        let date = check_date(request, &signed, now)?;
        Ok(Self { access, request, signed, date, signature })
    }

    /// Verifies the signature with this key.
    pub(super) fn verify(&self, key: &AccessKey) -> Result<(), Unproven> {
        check_security_token(self.request, &self.signed, key)?;
        let canonical = canonical_request(self.request, &self.signed)?;
        let string_to_sign = format!("SDK-HMAC-SHA256\n{}\n{}", self.date, sha256(canonical.as_bytes()));
        let expected = hmac_sha256(key.secret.expose(), &string_to_sign);
        let is_same = bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes()));
        is_same.then_some(()).ok_or_else(|| Unproven::Signature(canonical.replace('\n', "|")))
    }
}

/// Parses `Authorization` into the access key, the signed headers and the signature.
pub(super) fn parse(authorization: &str) -> Option<(&str, &str, &str)> {
    let rest = authorization.strip_prefix("SDK-HMAC-SHA256 Access=")?;
    let (access, rest) = rest.split_once(", SignedHeaders=")?;
    let (names, signature) = rest.split_once(", Signature=")?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (signature.len() == 64 && signature.bytes().all(is_hex)).then_some((access, names, signature))
}

/// Checks that the date is signed and within 15 minutes of the clock.
fn check_date<'r>(request: &'r Seen, signed: &[&str], now: DateTime<Utc>) -> Result<&'r str, Unproven> {
    let text = single(request, "x-sdk-date")?;
    if !signed.contains(&"x-sdk-date") {
        return Err(Unproven::UnsignedDate);
    }
    let date = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").map_err(|_| Unproven::MalformedDate)?;
    if date.format("%Y%m%dT%H%M%SZ").to_string() != text {
        return Err(Unproven::MalformedDate);
    }
    if (now - date.and_utc()).abs() > TimeDelta::minutes(15) {
        return Err(Unproven::DistantDate);
    }
    Ok(text)
}

/// Checks that a temporary key has its security token, signed, and a permanent one has none.
fn check_security_token(request: &Seen, signed: &[&str], key: &AccessKey) -> Result<(), Unproven> {
    let genuine = match (&key.security_token, request.all("x-security-token").next()) {
        (None, None) => true,
        (Some(expected), Some(sent)) => signed.contains(&"x-security-token") && same(expected, sent),
        (Some(_), None) | (None, Some(_)) => false,
    };
    genuine.then_some(()).ok_or(Unproven::SecurityToken)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac_sha256(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
