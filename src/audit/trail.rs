//! What became of the attempts at one call upstream.
//!
//! A record has one for the call that was asked for, and one for the look-up that it may have needed: what a look-up
//! sent and heard says nothing of whether the call was carried out.

use std::time::Duration;

/// What the attempts at one call came to.
#[derive(Debug, Default)]
pub struct Trail {
    /// How many there were.
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
