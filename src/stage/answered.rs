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
    /// Which date the request was signed with. One with a token has none.
    pub dated: Option<DateTime<Utc>>,
    /// How long it took, from the first byte of the request.
    pub elapsed: Duration,
}
