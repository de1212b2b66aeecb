//! Bearer tokens.
//!
//! It reads headers and knows no callers. Tokens are compared by digest; their text is only needed to verify a signature in
//! them.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::IdentityError;
use crate::reason::Reason;

/// The SHA-256 of a bearer token. The policy has only this, and only this is kept of a presented token.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

/// A presented token. Never printed.
pub(super) struct Token<'h> {
    pub(super) digest: TokenDigest,
    pub(super) text: &'h str,
}

/// The text is not a SHA-256 in hexadecimal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token's SHA-256 must be exactly 64 hexadecimal digits")]
pub struct DigestError;

impl TokenDigest {
    /// Parses 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`DigestError`], which does not contain the text: a user may have written the token itself.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| DigestError)?;
        Ok(Self(digest))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Computes the digest of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Compares in constant time.
impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

/// Returns the tokens in `Proxy-Authorization` and `Authorization`, if present.
///
/// # Errors
/// [`IdentityError::MalformedToken`] for a repeated or respelled header, or a value that is not one bearer token. There is no
/// fallback to a weaker credential.
pub(super) fn presented(headers: &HeaderMap) -> Result<[Option<Token<'_>>; 2], IdentityError> {
    if headers.keys().any(is_respelled) {
        return Err(IdentityError::MalformedToken(Reason::TokenHeaderSpelling));
    }
    let proxy = single(headers, &PROXY_AUTHORIZATION)?;
    let origin = single(headers, &AUTHORIZATION)?;
    let origin = origin.filter(|value| !is_sdk_signature(split_scheme(value).0));
    Ok([proxy.map(token).transpose()?, origin.map(token).transpose()?])
}

/// Whether any header, however spelled, presents a bearer token.
pub(super) fn is_presented(headers: &HeaderMap) -> bool {
    let carries =
        |name: &HeaderName| *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION || is_respelled(name);
    let is_bearer = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii_start();
        let scheme = value.split(|b| !b.is_ascii_alphanumeric() && *b != b'-').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer"))
    };
    headers.iter().any(|(name, value)| carries(name) && is_bearer(value))
}

/// Whether the name has `_` for `-`, which servers read differently.
fn is_respelled(name: &HeaderName) -> bool {
    let plain = |b: u8| if b == b'_' { b'-' } else { b };
    [&PROXY_AUTHORIZATION, &AUTHORIZATION]
        .into_iter()
        .any(|known| name != known && name.as_str().bytes().map(plain).eq(known.as_str().bytes()))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, IdentityError> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        (_, Some(_)) => Err(IdentityError::MalformedToken(Reason::SeveralTokens)),
    }
}

/// Whether the scheme is that of Huawei's SDK, whose clients may sign with keys of their own. `sdk_signature` decides
/// whether it identifies a caller.
pub(super) fn is_sdk_signature(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"SDK-HMAC-SHA256")
}

fn token(value: &HeaderValue) -> Result<Token<'_>, IdentityError> {
    let (scheme, token) = split_scheme(value);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(IdentityError::MalformedToken(Reason::TokenScheme));
    }
    let long_enough = (MIN_TOKEN..=MAX_TOKEN).contains(&token.len());
    let text = std::str::from_utf8(token).ok().filter(|_| long_enough && is_b64token(token));
    let text = text.ok_or(IdentityError::MalformedToken(Reason::MalformedToken))?;
    Ok(Token { digest: TokenDigest::of(token), text })
}

/// Splits a value into the scheme and the credentials (RFC 9110, section 11.4).
pub(super) fn split_scheme(value: &HeaderValue) -> (&[u8], &[u8]) {
    let value = value.as_bytes();
    let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    (scheme, rest.split_at(spaces).1)
}

/// Whether it matches RFC 6750, section 2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|b| **b == b'=').count();
    let (body, _) = token.split_at(token.len() - padding);
    !body.is_empty() && body.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(b))
}

/// The minimum length of a token. Shorter ones can be guessed.
const MIN_TOKEN: usize = 16;
const MAX_TOKEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Result<Option<TokenDigest>, IdentityError> {
        let value = HeaderValue::from_bytes(value).unwrap();
        let headers = [(AUTHORIZATION, value)].into_iter().collect();
        let [proxy, origin] = presented(&headers)?;
        assert!(proxy.is_none());
        Ok(origin.map(|token| token.digest))
    }

    #[test]
    fn a_bearer_token_is_read_by_its_grammar() {
        let longest = "a".repeat(4096);
        for token in ["0123456789abcdef", "AZaz09-._~+/AZaz09==", "0123456789abcde=", &longest] {
            for scheme in ["Bearer ", "bearer ", "BEARER   "] {
                let value = format!("{scheme}{token}");
                assert_eq!(read(value.as_bytes()), Ok(Some(TokenDigest::of(token.as_bytes()))), "{value}");
            }
        }
        assert_eq!(read(b"sdk-hmac-sha256 Access=x"), Ok(None));
    }

    #[test]
    fn whatever_is_not_one_bearer_token_is_refused() {
        for (value, reason) in [
            (&b""[..], Reason::TokenScheme),
            (b"Basic YWxhZGRpbjpvcGVuc2VzYW1l", Reason::TokenScheme),
            (b"Bearer=0123456789abcdef", Reason::TokenScheme),
            (b"Bearer\t0123456789abcdef", Reason::TokenScheme),
            (b"SDK-HMAC-SHA2560123456789abcdef", Reason::TokenScheme),
            (b" Bearer 0123456789abcdef", Reason::TokenScheme),
            (b"Bearer", Reason::MalformedToken),
            (b"Bearer ", Reason::MalformedToken),
            (b"Bearer 0123456789abcde", Reason::MalformedToken),
            (b"Bearer 0123456789abcdef ", Reason::MalformedToken),
            (b"Bearer 0123456789abcdef,Bearer 0123456789abcdef", Reason::MalformedToken),
            (b"Bearer 0123456789=abcdef", Reason::MalformedToken),
            (b"Bearer ================", Reason::MalformedToken),
            (b"Bearer 0123456789abcde\"", Reason::MalformedToken),
            (b"Bearer 0123456789abcde\xe9", Reason::MalformedToken),
        ] {
            assert_eq!(read(value), Err(IdentityError::MalformedToken(reason)), "{}", value.escape_ascii());
        }
        let too_long = format!("Bearer {}", "a".repeat(4097));
        assert_eq!(read(too_long.as_bytes()), Err(IdentityError::MalformedToken(Reason::MalformedToken)));
    }

    #[test]
    fn an_sdk_signature_is_passed_over_in_authorization_only() {
        let value = HeaderValue::from_static("SDK-HMAC-SHA256 Access=x");
        let headers = [(PROXY_AUTHORIZATION, value)].into_iter().collect();
        assert_eq!(presented(&headers).err(), Some(IdentityError::MalformedToken(Reason::TokenScheme)));
    }

    #[test]
    fn a_digest_is_read_from_hexadecimal_and_does_not_print() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::from_hex(abc), Ok(TokenDigest::of(b"abc")));
        assert_eq!(TokenDigest::from_hex(&abc.to_uppercase()), Ok(TokenDigest::of(b"abc")));
        assert_ne!(TokenDigest::of(b"abc"), TokenDigest::of(b"abd"));
        assert_eq!(format!("{:?}", TokenDigest::of(b"abc")), "[digest]");
        for text in ["", "abc", &abc[1..], &format!("{abc}00"), &format!("{abc}\n"), &abc.replace('b', "g")] {
            assert_eq!(TokenDigest::from_hex(text), Err(DigestError), "{text}");
        }
    }
}
