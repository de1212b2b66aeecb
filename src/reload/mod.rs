//! Reloads the configuration. The policy that is in force is replaced, whole and at once, or stays.
//!
//! One task reads the configuration again (`ReloadTask`): when somebody asks it to, when the files change, and when
//! they turn out to differ, which is looked at every few seconds. It waits until they are whole (see [`watch`](crate::watch)).
//! What cannot be loaded, or needs a restart, changes nothing and is said once; it is tried again, because the reason
//! may pass. Everybody else has a [`Reloader`], which asks and tells and never waits for a file. A request takes the
//! policy once and is decided by that one.

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
