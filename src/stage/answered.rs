//! What one attempt brought back.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::outcome::Row;
use crate::{limit::ByteReservation, upstream::UpstreamAnswer};

/// An answer of upstream to one attempt.
pub struct Answered {
    /// What came.
    pub answer: UpstreamAnswer,
    /// The room that it takes up.
    pub(super) room: ByteReservation,
    /// What follows from it.
    pub(super) row: Row,
    /// Whether it says that nothing was carried out.
    pub(super) undone: bool,
    /// When it was asked for, and how long it took.
    pub(super) timing: Timing,
}

/// What compares an endpoint's clock with ours.
#[derive(Clone, Copy, Default)]
pub(super) struct Timing {
    /// Which date the request was signed with. One with a token has none.
    pub(super) dated: Option<DateTime<Utc>>,
    /// How long the answer took, from the first byte of the request.
    pub(super) elapsed: Duration,
}
