//! Log lines that a stranger can cause: they are marked where they are written, and limited where they go out.
//!
//! Whoever reaches a listener can break handshakes or be refused as often as it likes. A line for each would fill disks
//! and hide everything else, so of marked lines the first of each cause is written, and then their number. Metrics
//! count all of them. Audit records are not log lines: each is written.
//!
//! It stands before everything that logs. How lines are limited is the command's (`cli`), which owns the log.

/// The target of such a line: `tracing::info!(target: LIMITED, …)`. Lines of one place in the source with the same field
/// `error` have one cause.
pub const LIMITED: &str = "limited";
