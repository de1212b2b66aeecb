//! Watches files that are read again when they change.
//!
//! Nobody announces that a file is complete, and half a policy may be valid. So a change is accepted at once only if it
//! arrived complete, by a rename or a switched link. Any other change is accepted once two checks, some time apart, show the
//! same. Only this place judges that: the policy, keys, tokens and certificates are all [`Files`].
//!
//! Directories are watched, to notice renames, editors and Kubernetes' swaps of mounted folders as well as writes. Some
//! changes cause no events (in bind mounts, for example), so files are also polled. All of this happens on blocking threads,
//! because a file system may hang.

mod events;
mod files;
mod snapshot;
mod read;
mod reader;

pub use files::{Files, WatchOutcome};
pub use read::{HANG_TIMEOUT, POLL_INTERVAL, SETTLE_TIME, off_thread, read};
pub use reader::Reader;
pub use snapshot::{Snapshot, folder};

#[cfg(test)]
mod tests;
