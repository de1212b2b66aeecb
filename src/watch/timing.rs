//! Times of watching files.

use std::time::Duration;

/// For how long a file must not have changed before it counts as whole.
pub const SETTLE_TIME: Duration = Duration::from_secs(2);

/// How long a file may take to be still, or to be read, before somebody is told.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(10);

/// How often files are looked at when nothing announces a change.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);
