//! Sandbox. No more than its work needs, wherever the kernel can see to that.
//!
//! Each measure is taken as far as it goes; none is a condition. It stands after configuration, which names the
//! files that are needed, and is entered by the command before there are other threads: the kernel confines one
//! thread and those that it makes. Sockets and what was opened before are left alone.

mod places;
mod process;
mod restriction;
mod ruleset;

pub use places::{Reach, freeze_folder};
pub use process::{REPLACED, SHARED, Sandbox, current};
pub use restriction::Restriction;
