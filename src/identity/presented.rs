//! The proofs on a request, as they came.

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::Peer;

/// What a request brings along that may prove its caller.
#[derive(Clone, Copy)]
pub struct Presented<'r> {
    /// Where it comes from.
    pub peer: &'r Peer,
    /// Its method.
    pub method: &'r str,
    /// Its raw target, as on the request line.
    pub target: &'r str,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// The SHA-256 of its body. `None` where it has none, or none yet.
    pub body: Option<[u8; 32]>,
    /// When it came.
    pub now: DateTime<Utc>,
}
