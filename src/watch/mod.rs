//! Watches files. For everything that is read again when it changes.
//!
//! Nobody says that he has finished writing a file, and half a policy may be a valid one. So what changed is taken at
//! once only where it came whole, by a rename or by a link that was turned elsewhere. All else is taken when it has
//! been still for a while, which is the case when two looks at it, that far apart, show the same. This is the only
//! place that judges so: the policy, keys, tokens and certificates are all [`Files`].
//!
//! Directories are watched, so that renames, editors and Kubernetes' swaps of a mounted folder are noticed as well as
//! writes. Not every change is announced (a bind mount's is not): whoever waits for changes also looks from time to
//! time. Looking is done on threads that serve nobody, because a file system may hang.

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
