//! The ids that the kernel reports for unknown users and groups.
//!
//! In a user namespace everybody from outside has the same id, `overflowuid`. It identifies no particular user, so the
//! configuration rejects it.

use std::{fs, sync::LazyLock};

/// Whether this user id stands for unknown users.
pub fn is_nobody(uid: u32) -> bool {
    uid == DEFAULT_OVERFLOW_ID || uid == *OVERFLOW_UID
}

/// Whether this group id stands for unknown groups.
pub fn is_no_group(gid: u32) -> bool {
    gid == DEFAULT_OVERFLOW_ID || gid == *OVERFLOW_GID
}

/// Reads both ids before the sandbox closes.
pub(super) fn learn() {
    LazyLock::force(&OVERFLOW_UID);
    LazyLock::force(&OVERFLOW_GID);
}

fn read(name: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_OVERFLOW_ID)
}

/// The kernel's default for both, and the id of `nobody` on most systems.
const DEFAULT_OVERFLOW_ID: u32 = 65534;
static OVERFLOW_UID: LazyLock<u32> = LazyLock::new(|| read("overflowuid"));
static OVERFLOW_GID: LazyLock<u32> = LazyLock::new(|| read("overflowgid"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_for_strangers_is_nobody() {
        for (name, is_one) in [("overflowuid", is_nobody as fn(u32) -> bool), ("overflowgid", is_no_group)] {
            assert!(is_one(read(name)) && is_one(65534), "{name}");
            assert!(!is_one(0) && !is_one(1001) && !is_one(65533), "{name}");
        }
        assert_eq!(read("no-such-name"), 65534);
    }
}
