//! The canonical request of SDK-HMAC-SHA256, in a second, independent implementation.
//!
//! It follows the specification literally, without regard to speed; see [`signature`](super::signature) for why it exists.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Seen;

/// Why a signature is rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproven {
    #[error("Authorization is not `SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…`")]
    Grammar,
    #[error("SignedHeaders is not a sorted list of different names in lower case")]
    SignedHeaders,
    #[error("header {0} must be there exactly once")]
    Header(String),
    #[error("Get secretKey failed,ak:{0},err:ak not exist")]
    UnknownKey(String),
    #[error("AK access failed to reach the limit,forbidden.")]
    Locked,
    #[error("Get secretKey failed,ak:{0},err:ak and security token expired")]
    Expired(String),
    #[error("x-sdk-date is not signed")]
    UnsignedDate,
    #[error("x-sdk-date is not YYYYMMDDTHHMMSSZ")]
    MalformedDate,
    #[error("x-sdk-date is more than 15 minutes off")]
    DistantDate,
    #[error("x-security-token is not the key's, or is not signed")]
    SecurityToken,
    #[error("the request target has a broken percent escape, or is not UTF-8")]
    Target,
    #[error("x-sdk-content-sha256 is not the hash of the body")]
    Content,
    /// It is wrong. Holds the canonical request, like the gateway's own message, with `|` for line ends.
    #[error("verify aksk signature fail, canonicalRequest:{0}")]
    Signature(String),
}

/// Returns the value of a header that must occur exactly once.
pub(super) fn single<'r>(request: &'r Seen, name: &str) -> Result<&'r str, Unproven> {
    request.header(name).ok_or_else(|| Unproven::Header(name.to_owned()))
}

/// Returns the canonical request. `signed` are the sorted names of the signed headers.
pub(super) fn canonical_request(request: &Seen, signed: &[&str]) -> Result<String, Unproven> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut lines = vec![request.method.to_uppercase(), canonical_uri(path)?, canonical_query(query)?];
    for name in signed {
        lines.push(format!("{name}:{}", single(request, name)?.trim()));
    }
    // Each header's line has a line end, so there is an empty line before the names.
    lines.push(String::new());
    lines.push(signed.join(";"));
    lines.push(payload_hash(request)?);
    Ok(lines.join("\n"))
}

/// Decodes the path once and encodes it segment by segment, with a final `/`.
fn canonical_uri(path: &str) -> Result<String, Unproven> {
    let decoded = decode(path)?;
    let mut uri = decoded.split('/').map(encode).collect::<Vec<_>>().join("/");
    if !uri.ends_with('/') {
        uri.push('/');
    }
    Ok(uri)
}

/// Decodes the query, sorts it by name and value, and encodes it, always with `=`.
fn canonical_query(query: &str) -> Result<String, Unproven> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    pairs.sort();
    let encoded: Vec<_> = pairs.iter().map(|(name, value)| encode(name) + "=" + &encode(value)).collect();
    Ok(encoded.join("&"))
}

/// Returns the hash of the body or, if there is a body, the header that replaces it.
fn payload_hash(request: &Seen) -> Result<String, Unproven> {
    let hash = sha256(&request.body);
    if request.body.is_empty() || request.all("x-sdk-content-sha256").next().is_none() {
        return Ok(hash);
    }
    let claimed = single(request, "x-sdk-content-sha256")?;
    if claimed == hash || claimed == "UNSIGNED-PAYLOAD" {
        Ok(claimed.to_owned())
    } else {
        Err(Unproven::Content)
    }
}

fn decode(text: &str) -> Result<String, Unproven> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit(), digit());
            let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            bytes.push(value.ok_or(Unproven::Target)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| Unproven::Target)
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}

/// Returns the hash in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_encoded_again() {
        for (path, expected) in [
            ("/v2/p/editing/jobs/j", Ok("/v2/p/editing/jobs/j/")),
            ("/v2/p/editing/jobs/j/", Ok("/v2/p/editing/jobs/j/")),
            ("/a%2Fb", Ok("/a/b/")),
            ("/a%252Fb", Ok("/a%252Fb/")),
            ("/%e5%89%aa %7E", Ok("/%E5%89%AA%20~/")),
            ("/a/../b//c", Ok("/a/../b//c/")),
            ("/", Ok("/")),
            ("/%", Err(Unproven::Target)),
            ("/%4", Err(Unproven::Target)),
            ("/%+1", Err(Unproven::Target)),
            ("/%FF", Err(Unproven::Target)),
        ] {
            assert_eq!(canonical_uri(path), expected.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn a_query_is_sorted_as_decoded() {
        for (query, expected) in [
            ("", ""),
            ("job_id=7", "job_id=7"),
            ("b&a=2&a=1", "a=1&a=2&b="),
            ("a=%7E%2f", "a=~%2F"),
            ("a=b=c", "a=b%3Dc"),
            ("%62=1&a=2", "a=2&b=1"),
        ] {
            assert_eq!(canonical_query(query), Ok(expected.to_owned()), "{query}");
        }
    }

    #[test]
    fn a_body_is_covered_by_its_hash_or_openly_left_out() {
        let mut request = Seen::default();
        assert_eq!(
            payload_hash(&request),
            Ok("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into())
        );
        request.headers.push(("x-sdk-content-sha256".into(), "UNSIGNED-PAYLOAD".into()));
        assert_eq!(payload_hash(&request), Ok(sha256(b"")), "no body: the header does not count");
        request.body = b"{}".into();
        assert_eq!(payload_hash(&request), Ok("UNSIGNED-PAYLOAD".into()));
        request.headers = vec![("x-sdk-content-sha256".into(), sha256(b"{}"))];
        assert_eq!(payload_hash(&request), Ok(sha256(b"{}")));
        request.headers = vec![("x-sdk-content-sha256".into(), sha256(b"[]"))];
        assert_eq!(payload_hash(&request), Err(Unproven::Content));
    }
}
