//! The sandbox: restricts the process to what it needs, as far as the kernel supports that.
//!
//! Each measure is applied as far as possible; none is required. The command enters it after the configuration is loaded,
//! which names the needed files, and before there are other threads, because the kernel confines one thread and those that
//! it starts. Sockets and files that are already open are not affected.

mod places;
mod process;
mod restriction;
mod ruleset;

pub use places::{Reach, freeze_folder};
pub use process::{REPLACED, SHARED, Sandbox, current};
pub use restriction::Restriction;
