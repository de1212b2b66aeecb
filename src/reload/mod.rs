//! Reloads the configuration: the policy in force is replaced as a whole, or stays.
//!
//! One task (`ReloadTask`) reads the configuration again when asked, when files change, and when a periodic check finds a
//! difference. It waits until the files are complete (see [`watch`](crate::watch)). A configuration that is invalid, or
//! needs a restart, changes nothing and is reported once; it is tried again, because the reason may pass. Everybody else has
//! a [`Reloader`], which never waits for a file. A request takes the policy once and is decided by that one.

mod notices;
mod reloader;
mod restart_only;
mod start;
mod sync_status;
mod task;

pub use notices::log_findings;
pub use reloader::Reloader;
pub use restart_only::Baseline;
pub use start::load_when_still;
pub use sync_status::{Reloaded, SyncState, SyncStatus};
pub use task::Targets;

#[cfg(test)]
mod tests;
