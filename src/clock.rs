//! What time is it? The only reader of the wall clock.
//!
//! It stands first because everything else takes time as an argument; a test of a pure function
//! passes the time it needs. It does not sleep and sets no timers.

use chrono::{DateTime, Utc};

/// The current time in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
