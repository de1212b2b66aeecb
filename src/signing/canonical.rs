//! Builds the canonical request, part by part in the order of the specification.
//!
//! It rejects everything that hops between here and the gateway could read differently.

use super::encode::{EncodeError, push_path, push_query};
use super::{SigningKey, Timestamp};
use crate::secret::Secret;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;

/// A request before it is signed, as it will stand on the wire.
#[derive(Clone, Copy)]
pub struct Unsigned<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The raw path: escaped as on the request line.
    pub path: &'a str,
    /// The raw query without its `?`, empty if there is none.
    pub query: &'a str,
    /// Every header that will be sent, `Host` included, apart from those that signing adds. All are signed but
    /// those with a `_` in their name.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
}

/// The canonical request, with its line of signed headers.
pub(super) struct Canonical {
    pub(super) request: String,
    pub(super) signed_headers: String,
}

/// Why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The method has other characters than upper-case letters.
    #[error("the method must be upper-case letters")]
    Method,
    /// The path has no canonical form.
    #[error("the path {0}")]
    Path(EncodeError),
    /// The query has no canonical form.
    #[error("the query {0}")]
    Query(EncodeError),
    /// A header name is invalid.
    #[error("{0:?} is not a header name")]
    HeaderName(Box<str>),
    /// A header value has control characters or is not UTF-8. Holds the name.
    #[error("the value of header {0} has control characters or is not UTF-8")]
    HeaderValue(Box<str>),
    /// A header is repeated, and hops differ in which one they keep.
    #[error("duplicate header {0}")]
    RepeatedHeader(Box<str>),
    /// Signing sets this header, so the request must not have it in any spelling.
    #[error("header {0} is set by signing")]
    SetBySigning(Box<str>),
    /// `Host` is missing. Without it a signature would be valid for any service.
    #[error("no Host header")]
    NoHost,
}

/// Variations of other signers, for recomputing what a client signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// Whether `Host` may be missing, as in Go's SDK.
    pub hostless: bool,
    /// The payload line.
    pub payload: Payload,
}

/// The payload line of a canonical request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// The hash of the body, or the value of `X-Sdk-Content-Sha256`.
    #[default]
    OfBody,
    /// This SHA-256 of a body that is not available.
    Hash([u8; 32]),
    /// `UNSIGNED-PAYLOAD`, even if the body is empty, as in PHP's SDK.
    Unsigned,
}

impl Canonical {
    pub(super) fn new(
        request: &Unsigned<'_>,
        key: &SigningKey,
        at: &Timestamp,
        leeway: Leeway,
    ) -> Result<Self, SignError> {
        if request.method.is_empty() || !request.method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(SignError::Method);
        }
        let headers = headers_to_sign(request, key, at)?;
        if !leeway.hostless && value_of(HOST, &headers).is_none() {
            return Err(SignError::NoHost);
        }
        let names_size = headers.iter().map(|h| h.name.len() + 1).sum();
        let values_size: usize = headers.iter().map(|h| h.value.len() + 1).sum();
        let target_size = request.path.len() + request.query.len();

        let mut signed_headers = String::with_capacity(names_size);
        let mut out = String::with_capacity(target_size + 2 * names_size + values_size + FIXED_SIZE);
        out.push_str(request.method);
        out.push('\n');
        push_path(&mut out, request.path).map_err(SignError::Path)?;
        out.push('\n');
        push_query(&mut out, request.query).map_err(SignError::Query)?;
        out.push('\n');
        for header in &headers {
            push_lower_case(&mut out, header.name);
            out.push(':');
            out.push_str(header.value);
            out.push('\n');
            if !signed_headers.is_empty() {
                signed_headers.push(';');
            }
            push_lower_case(&mut signed_headers, header.name);
        }
        out.push('\n');
        out.push_str(&signed_headers);
        out.push('\n');
        match &leeway.payload {
            Payload::OfBody => push_payload_hash(&mut out, request.body, &headers),
            Payload::Hash(hash) => push_hex(&mut out, hash),
            Payload::Unsigned => out.push_str(UNSIGNED_PAYLOAD),
        }
        Ok(Self { request: out, signed_headers })
    }
}

/// Whether signing sets this header. Ignores case, and takes `_` as `-`, as many servers do.
pub fn is_set_by_signing(name: &str) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    [AUTHORIZATION, X_SDK_DATE, X_SECURITY_TOKEN]
        .iter()
        .any(|set| set.len() == name.len() && set.bytes().map(fold).eq(name.bytes().map(fold)))
}

#[derive(Clone, Copy)]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

/// Returns the headers to sign, including those that signing adds, in the order of their lower-case names.
fn headers_to_sign<'a>(
    request: &Unsigned<'a>,
    key: &'a SigningKey,
    at: &'a Timestamp,
) -> Result<Vec<Header<'a>>, SignError> {
    let mut headers = Vec::with_capacity(request.headers.len() + 2);
    for (name, value) in request.headers {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(SignError::HeaderName((*name).into()));
        }
        if is_set_by_signing(name) {
            return Err(SignError::SetBySigning((*name).into()));
        }
        let value = header_value(value).ok_or_else(|| SignError::HeaderValue((*name).into()))?;
        // The SDKs leave out such names, because hops such as nginx drop them.
        if !name.contains('_') {
            headers.push(Header { name, value });
        }
    }
    headers.push(Header { name: X_SDK_DATE, value: at.as_str() });
    headers.extend(
        key.security_token().map(Secret::expose).map(|value| Header { name: X_SECURITY_TOKEN, value }),
    );
    headers.sort_unstable_by(|a, b| ignoring_case(a.name, b.name));
    if let Some([first, _]) = headers.array_windows().find(|[a, b]| a.name.eq_ignore_ascii_case(b.name)) {
        return Err(SignError::RepeatedHeader(first.name.into()));
    }
    Ok(headers)
}

/// Returns the value without surrounding white space, which hops need not keep.
fn header_value(raw: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(raw).ok()?.trim_matches([' ', '\t']);
    let plain = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    (plain || !value.contains(char::is_control)).then_some(value)
}

/// Appends the hash of the body, or the value of `X-Sdk-Content-Sha256`. As in the SDKs, an empty body always has the empty
/// hash, and an empty header is ignored.
fn push_payload_hash(out: &mut String, body: &[u8], headers: &[Header<'_>]) {
    if body.is_empty() {
        return out.push_str(EMPTY_PAYLOAD_HASH);
    }
    match value_of(X_SDK_CONTENT_SHA256, headers).filter(|value| !value.is_empty()) {
        Some(hash) => out.push_str(hash),
        None => push_hex(out, &Sha256::digest(body).into()),
    }
}

fn value_of<'a>(name: &str, headers: &[Header<'a>]) -> Option<&'a str> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

fn push_lower_case(out: &mut String, name: &str) {
    let start = out.len();
    out.push_str(name);
    if let Some(pushed) = out.get_mut(start..) {
        pushed.make_ascii_lowercase();
    }
}

fn ignoring_case(a: &str, b: &str) -> Ordering {
    a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
}

/// Whether a byte may be in a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Appends a hash in lower-case hexadecimal, without the allocation of `hex::encode`.
#[expect(clippy::expect_used, reason = "32 bytes are 64 digits, and digits are ASCII")]
pub(super) fn push_hex(out: &mut String, hash: &[u8; 32]) {
    let mut digits = [0; DIGITS];
    hex::encode_to_slice(hash, &mut digits).expect("64 digits");
    out.push_str(std::str::from_utf8(&digits).expect("ASCII"));
}

/// Of a hash in hexadecimal.
pub(super) const DIGITS: usize = 64;
pub(super) const AUTHORIZATION: &str = "Authorization";
pub(super) const X_SDK_DATE: &str = "X-Sdk-Date";
pub(super) const X_SECURITY_TOKEN: &str = "X-Security-Token";
const HOST: &str = "Host";
const X_SDK_CONTENT_SHA256: &str = "X-Sdk-Content-Sha256";
/// The value of `X-Sdk-Content-Sha256` if the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const EMPTY_PAYLOAD_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The size of the payload hash, the method, the line ends, and the `/` after the path.
const FIXED_SIZE: usize = 64 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_HEADER: (&str, &[u8]) = ("Host", b"h");
    const REQUEST: Unsigned<'static> =
        Unsigned { method: "DELETE", path: "/p", query: "", headers: &[HOST_HEADER], body: b"" };

    fn canonical(request: &Unsigned<'_>) -> Result<String, SignError> {
        let key = SigningKey::new("AK", &Secret::new("SK"), Some(Secret::new("T"))).unwrap();
        let at = Timestamp::parse("20260115T083000Z").unwrap();
        Canonical::new(request, &key, &at, Leeway::default()).map(|canonical| canonical.request)
    }

    #[test]
    fn the_parts_stand_in_the_order_of_the_specification() {
        let request = Unsigned {
            query: "b=2&a",
            headers: &[("X-B", b" 1\t"), HOST_HEADER, ("X-Project_Id", b"p"), ("X-A", b"")],
            ..REQUEST
        };
        let expected = "DELETE\n/p/\na=&b=2\nhost:h\nx-a:\nx-b:1\nx-sdk-date:20260115T083000Z\n\
                        x-security-token:T\n\nhost;x-a;x-b;x-sdk-date;x-security-token\n";
        assert_eq!(canonical(&request), Ok(format!("{expected}{EMPTY_PAYLOAD_HASH}")));
    }

    #[test]
    fn a_content_header_replaces_the_hash_of_a_body() {
        let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        for (value, body, expected) in [
            ("UNSIGNED-PAYLOAD", "a", "UNSIGNED-PAYLOAD"),
            ("UNSIGNED-PAYLOAD", "", EMPTY_PAYLOAD_HASH),
            ("", "a", hash),
        ] {
            let headers = [HOST_HEADER, ("x-sdk-CONTENT-sha256", value.as_bytes())];
            let request = Unsigned { headers: &headers, body: body.as_bytes(), ..REQUEST };
            let text = canonical(&request).unwrap();
            assert_eq!(text.lines().last(), Some(expected), "{value:?} {body:?}");
        }
        let request = Unsigned { body: b"a", ..REQUEST };
        assert_eq!(canonical(&request).unwrap().lines().last(), Some(hash));
    }

    #[test]
    fn a_request_with_two_readings_is_refused() {
        for method in ["", "delete", "DELETE ", "GET\n", "GÉT", "GET/"] {
            assert_eq!(canonical(&Unsigned { method, ..REQUEST }), Err(SignError::Method), "{method:?}");
        }
        for (path, fault) in [
            ("", EncodeError::NotOnTheWire),
            ("p", EncodeError::NotOnTheWire),
            ("/%2", EncodeError::BrokenEscape),
            ("/%FF", EncodeError::NotUtf8),
            ("/%0A", EncodeError::ControlCharacter),
        ] {
            assert_eq!(canonical(&Unsigned { path, ..REQUEST }), Err(SignError::Path(fault)), "{path:?}");
        }
        for (query, fault) in [
            ("a=%2", EncodeError::BrokenEscape),
            ("a=%FF", EncodeError::NotUtf8),
            ("a=%0A", EncodeError::ControlCharacter),
            ("a&&b", EncodeError::EmptyParameter),
        ] {
            assert_eq!(canonical(&Unsigned { query, ..REQUEST }), Err(SignError::Query(fault)), "{query:?}");
        }
        assert_eq!(canonical(&Unsigned { headers: &[], ..REQUEST }), Err(SignError::NoHost));
    }

    #[test]
    fn a_header_with_two_readings_is_refused() {
        for (name, value, refusal) in [
            ("", "v", SignError::HeaderName as fn(Box<str>) -> SignError),
            ("X A", "v", SignError::HeaderName),
            ("X:A", "v", SignError::HeaderName),
            ("X\n", "v", SignError::HeaderName),
            ("É", "v", SignError::HeaderName),
            ("X-A", "a\r\nX-B: b", SignError::HeaderValue),
            ("X-A", "a\nb", SignError::HeaderValue),
            ("X-A", "a\tb", SignError::HeaderValue),
            ("X-A", "a\0", SignError::HeaderValue),
            ("X-A", "\x7f", SignError::HeaderValue),
            ("X-A", "é\u{85}", SignError::HeaderValue),
            ("X_A", "a\nb", SignError::HeaderValue),
            ("x-sdk-date", "20260115T083000Z", SignError::SetBySigning),
            ("X-SDK_Date", "20260115T083000Z", SignError::SetBySigning),
            ("AUTHORIZATION", "v", SignError::SetBySigning),
            ("X_Security_Token", "T", SignError::SetBySigning),
        ] {
            let headers = [HOST_HEADER, (name, value.as_bytes())];
            let request = Unsigned { headers: &headers, ..REQUEST };
            assert_eq!(canonical(&request), Err(refusal(name.into())), "{name:?}: {value:?}");
        }
        let not_utf8: &[(&str, &[u8])] = &[HOST_HEADER, ("X-A", b"\xff")];
        let refusal = SignError::HeaderValue("X-A".into());
        assert_eq!(canonical(&Unsigned { headers: not_utf8, ..REQUEST }), Err(refusal));
    }

    #[test]
    fn a_signed_header_must_be_single_whatever_its_case() {
        let twice: &[(&str, &[u8])] = &[("x-a", b"1"), HOST_HEADER, ("X-A", b"1")];
        let refusal = canonical(&Unsigned { headers: twice, ..REQUEST }).unwrap_err();
        assert!(matches!(refusal, SignError::RepeatedHeader(name) if name.eq_ignore_ascii_case("x-a")));
        let two_hosts: &[(&str, &[u8])] = &[HOST_HEADER, ("host", b"h")];
        assert!(canonical(&Unsigned { headers: two_hosts, ..REQUEST }).is_err());
    }
}
