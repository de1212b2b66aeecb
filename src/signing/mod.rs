//! SDK-HMAC-SHA256 request signatures.
//!
//! It stands right after the grammar of targets and knows nothing of the proxy: parts of a request, a key and a
//! time go in, headers come out, and nothing is given out before everything is computed. The nouns are those of
//! Huawei's specification, the vectors those of its Python SDK. It does not send, and it does not judge whether
//! a path is wise to send: the signature of `a%2Fb` is that of `a/b`.

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
