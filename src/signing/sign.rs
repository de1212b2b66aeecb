//! Signing: the steps from a request to what is added to it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{
    Leeway, SignError, SigningKey, Timestamp, Unsigned,
    canonical::{AUTHORIZATION, Canonical, DIGITS, X_SDK_DATE, X_SECURITY_TOKEN, push_hex},
};
use crate::secret::Secret;

/// What signing adds to a request.
pub struct Signed<'k> {
    date: Timestamp,
    security_token: Option<&'k Secret>,
    signed_headers: String,
    authorization: String,
}

/// A signature with the steps that led to it. Its texts hold the security token, where there is one.
pub struct Explained<'k> {
    /// The request, written in the one way that is signed.
    pub canonical_request: String,
    /// The algorithm, the time and the hash of the canonical request.
    pub string_to_sign: String,
    /// The result.
    pub signed: Signed<'k>,
}

/// Signs a request.
///
/// # Errors
/// What has more than one reading is refused; see [`SignError`].
pub fn sign<'k>(request: &Unsigned<'_>, key: &'k SigningKey, at: Timestamp) -> Result<Signed<'k>, SignError> {
    explain(request, key, at).map(|explained| explained.signed)
}

/// Signs a request and keeps the steps. [`sign`] is this and nothing else.
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

/// Computes what another signer would have come to, to be compared with what it sent. It is not for sending.
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
    /// The headers to add to the request before it is sent, all of them: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let token = self.security_token().map(|token| (X_SECURITY_TOKEN, token));
        [(X_SDK_DATE, self.date.as_str())]
            .into_iter()
            .chain(token)
            .chain([(AUTHORIZATION, self.authorization.as_str())])
    }

    /// The value of `Authorization`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// The last part of it, which is the signature.
    pub fn signature(&self) -> &str {
        let start = self.authorization.len().saturating_sub(DIGITS);
        self.authorization.get(start..).unwrap_or_default()
    }

    /// The value of `Authorization`, for good.
    pub fn into_authorization(self) -> String {
        self.authorization
    }

    /// The value of `X-Sdk-Date`.
    pub fn date(&self) -> &str {
        self.date.as_str()
    }

    /// The value of `X-Security-Token`, which temporary keys have.
    pub fn security_token(&self) -> Option<&str> {
        self.security_token.map(Secret::expose)
    }

    /// The names of the signed headers, in lower case, sorted, separated by `;`.
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
