//! Signing: the steps from a request to the headers that are added to it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{
    Leeway, SignError, SigningKey, Timestamp, Unsigned,
    canonical::{AUTHORIZATION, Canonical, DIGITS, X_SDK_DATE, X_SECURITY_TOKEN, push_hex},
};
use crate::secret::Secret;

/// The headers that signing adds to a request.
pub struct Signed<'k> {
    date: Timestamp,
    security_token: Option<&'k Secret>,
    signed_headers: String,
    authorization: String,
}

/// A signature with its intermediate steps. Its texts contain the security token, if there is one.
pub struct Explained<'k> {
    /// The canonical request.
    pub canonical_request: String,
    /// The algorithm, the time and the hash of the canonical request.
    pub string_to_sign: String,
    /// The result.
    pub signed: Signed<'k>,
}

/// Signs a request.
///
/// # Errors
/// If the request is ambiguous; see [`SignError`].
pub fn sign<'k>(request: &Unsigned<'_>, key: &'k SigningKey, at: Timestamp) -> Result<Signed<'k>, SignError> {
    explain(request, key, at).map(|explained| explained.signed)
}

/// Signs a request and keeps the steps. [`sign`] does the same without them.
///
/// # Errors
/// What has more than one reading is refused; see [`SignError`].
pub fn explain<'k>(
    request: &Unsigned<'_>,
    key: &'k SigningKey,
    at: Timestamp,
) -> Result<Explained<'k>, SignError> {
    recompute(request, key, at, Leeway::default())
}

/// Recomputes another signer's signature, to compare with what it sent. Not for sending.
///
/// # Errors
/// What has more than one reading is refused; see [`SignError`].
pub fn recompute<'k>(
    request: &Unsigned<'_>,
    key: &'k SigningKey,
    at: Timestamp,
    leeway: Leeway,
) -> Result<Explained<'k>, SignError> {
    let Canonical { request: canonical_request, signed_headers } = Canonical::new(request, key, &at, leeway)?;
    let string_to_sign = string_to_sign(&canonical_request, at);
    let authorization = authorization(key, &signed_headers, &key.hmac(&string_to_sign));
    let signed = Signed { date: at, security_token: key.security_token(), signed_headers, authorization };
    Ok(Explained { canonical_request, string_to_sign, signed })
}

impl Signed<'_> {
    /// Returns all headers to add to the request, as name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let token = self.security_token().map(|token| (X_SECURITY_TOKEN, token));
        [(X_SDK_DATE, self.date.as_str())]
            .into_iter()
            .chain(token)
            .chain([(AUTHORIZATION, self.authorization.as_str())])
    }

    /// Returns the value of `Authorization`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Returns the signature, the last part of `Authorization`.
    pub fn signature(&self) -> &str {
        let start = self.authorization.len().saturating_sub(DIGITS);
        self.authorization.get(start..).unwrap_or_default()
    }

    /// Converts into the value of `Authorization`.
    pub fn into_authorization(self) -> String {
        self.authorization
    }

    /// Returns the value of `X-Sdk-Date`.
    pub fn date(&self) -> &str {
        self.date.as_str()
    }

    /// Returns the value of `X-Security-Token` of a temporary key.
    pub fn security_token(&self) -> Option<&str> {
        self.security_token.map(Secret::expose)
    }

    /// Returns the names of the signed headers, in lower case, sorted, separated by `;`.
    pub fn signed_headers(&self) -> &str {
        &self.signed_headers
    }
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("date", &self.date)
            .field("signed_headers", &self.signed_headers)
            .finish_non_exhaustive()
    }
}

fn string_to_sign(canonical_request: &str, at: Timestamp) -> String {
    let mut out = String::with_capacity(ALGORITHM.len() + 1 + at.as_str().len() + 1 + 64);
    for part in [ALGORITHM, "\n", at.as_str(), "\n"] {
        out.push_str(part);
    }
    push_hex(&mut out, &Sha256::digest(canonical_request).into());
    out
}

fn authorization(key: &SigningKey, signed_headers: &str, signature: &[u8; 32]) -> String {
    let parts = [ALGORITHM, " Access=", key.access_key(), ", SignedHeaders=", signed_headers, ", Signature="];
    let mut out = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 64);
    for part in parts {
        out.push_str(part);
    }
    push_hex(&mut out, signature);
    out
}

const ALGORITHM: &str = "SDK-HMAC-SHA256";
