//! The trail of the attempts at one call.
//!
//! A record has one for the caller's call and one for its lookup, because what a lookup sent says nothing about whether the
//! call was executed.

use std::time::Duration;

/// The result of the attempts at one call.
#[derive(Debug, Default)]
pub struct Trail {
    /// The number of attempts.
    pub attempts: u32,
    /// Whether a byte of any of them may have reached upstream.
    pub maybe_sent: bool,
    /// Upstream's status.
    pub status: Option<u16>,
    /// Upstream's own request id.
    pub request_id: Option<String>,
    /// The `error_code` of upstream's answer.
    pub error_code: Option<String>,
    /// The time spent on them.
    pub duration: Option<Duration>,
}
