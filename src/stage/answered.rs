//! The answer to one attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::outcome::Row;
use crate::{limit::ByteReservation, upstream::UpstreamAnswer};

/// Upstream's answer to one attempt.
pub struct Answered {
    /// The answer.
    pub answer: UpstreamAnswer,
    /// The memory that it holds.
    pub(super) room: ByteReservation,
    /// Its row in the table of outcomes.
    pub(super) row: Row,
    /// Whether it says that the request was not executed.
    pub(super) undone: bool,
    /// The times that the skew is computed from.
    pub(super) timing: Timing,
}

/// The times for comparing an endpoint's clock with ours.
#[derive(Clone, Copy, Default)]
pub(super) struct Timing {
    /// The date of the signature. `None` with a token.
    pub(super) dated: Option<DateTime<Utc>>,
    /// The time from the first byte of the request to the answer.
    pub(super) elapsed: Duration,
}
