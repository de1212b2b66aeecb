//! SDK-HMAC-SHA256 request signatures.
//!
//! It knows nothing of the proxy: parts of a request, a key and a time go in, headers come out, and nothing is returned
//! before everything is computed. Names follow Huawei's specification; the test vectors come from its Python SDK. It does
//! not judge whether a path is wise to send: `a%2Fb` and `a/b` have the same signature.

mod canonical;
mod encode;
mod key;
#[cfg(test)]
mod properties;
mod sign;
mod timestamp;
#[cfg(test)]
mod vectors;

pub use canonical::{Leeway, Payload, SignError, UNSIGNED_PAYLOAD, Unsigned, is_set_by_signing};
pub use encode::EncodeError;
pub use key::{KeyError, Part, SigningKey, hint};
pub use sign::{Explained, Signed, explain, recompute, sign};
pub use timestamp::{Timestamp, TimestampError};
#[cfg(test)]
pub(crate) use vectors::base64;
