//! The mark of log lines that strangers can cause.
//!
//! Anybody who reaches a listener can break handshakes or be refused any number of times. A line for each would fill disks
//! and hide everything else. So of marked lines only the first of each cause is written, and then their number. Metrics
//! count all of them, and audit records are always written. `cli`, which owns the log, does the limiting.

/// The target of such a line: `tracing::info!(target: LIMITED, …)`. Lines from the same place in the source with the same
/// field `error` have the same cause.
pub const LIMITED: &str = "limited";
