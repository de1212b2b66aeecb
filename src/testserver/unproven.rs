//! Why a request's signature is not believed.

use super::seen::Seen;

/// Why a request's signature is not believed.
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
    /// Holds the canonical request, as the gateway's own message does, with `|` for line ends.
    #[error("verify aksk signature fail, canonicalRequest:{0}")]
    Signature(String),
}

/// The value of a header that must be there exactly once.
pub(super) fn single<'r>(request: &'r Seen, name: &str) -> Result<&'r str, Unproven> {
    request.header(name).ok_or_else(|| Unproven::Header(name.to_owned()))
}
