//! Lowers the limits to the memory that this process may use.
//!
//! A container that exceeds its cgroup's limit is killed, with all calls in flight. So limits that do not fit are lowered,
//! as with descriptors.

use std::{fs, path::Path};

use crate::{config::Limits, operation::LARGEST_ANSWER};

/// Returns the memory limit of this process's cgroup in bytes. `None` if there is none or it is unknown.
pub fn available() -> Option<usize> {
    allowed(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Returns the lowest limit of the cgroup and its ancestors. Within a container its own is often shown as the root.
fn allowed(root: &Path, cgroups: &str) -> Option<usize> {
    // Version 2, then version 1 (cgroups(7)).
    let of = |prefix: &str| cgroups.lines().find_map(|line| line.split_once(prefix).map(|(_, path)| path));
    let (root, path, file) = match (of(":memory:"), of("::")) {
        (Some(path), _) => (root.join("memory"), path, "memory.limit_in_bytes"),
        (None, path) => (root.to_owned(), path?, "memory.max"),
    };
    let own = root.join(path.trim_start_matches('/'));
    let upwards = own.ancestors().take_while(|folder| folder.starts_with(&root));
    upwards.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

/// Returns the limits that this much memory allows. Logs those that are lowered.
pub fn fit(limits: &Limits, memory: Option<usize>) -> Limits {
    let Limits { connections, in_flight, buffer_bytes, .. } = *limits;
    let wanted = [(connections, PER_CONNECTION), (in_flight, PER_CALL), (buffer_bytes, 1)];
    let wanted = wanted
        .iter()
        .map(|(count, each)| count.saturating_mul(*each))
        .fold(BASE_USAGE, usize::saturating_add);
    let Some(memory) = memory.filter(|memory| *memory < wanted) else { return limits.clone() };
    let left = memory.saturating_sub(BASE_USAGE);
    let buffer_bytes = buffer_bytes.min(left / 4).max(MIN_BUDGET);
    let in_flight = in_flight.min(left / 4 / PER_CALL).max(1);
    let connections =
        connections.min(left.saturating_sub(buffer_bytes + in_flight * PER_CALL) / PER_CONNECTION).max(1);
    // Never so large that a single body could take all of it.
    let body_bytes = limits.body_bytes.min(buffer_bytes / 4);
    tracing::warn!(
        memory,
        connections,
        in_flight,
        body_bytes,
        buffer_bytes,
        "too little memory for `limits`: lowered; raise the cgroup's limit (MemoryMax, resources.limits)"
    );
    Limits { connections, in_flight, body_bytes, buffer_bytes, ..limits.clone() }
}

/// Memory in use before the first connection.
const BASE_USAGE: usize = 14 << 20;
/// Memory for a caller's connection: with TLS 7 KiB while idle, 4 KiB in the kernel, and unread bytes.
const PER_CONNECTION: usize = 16 << 10;
/// Memory for a call in flight and its upstream connection, without the answer.
const PER_CALL: usize = 20 << 10;
/// Memory for one answer of the largest kind: with less, no job could ever be looked up.
const MIN_BUDGET: usize = LARGEST_ANSWER;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_a_cgroup_and_those_above_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pods/memory.max", "67108864\n");
        write("pods/one/memory.max", "max\n");
        write("memory/old/memory.limit_in_bytes", "1048576\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        for (cgroups, expected) in [
            ("0::/pods/one\n", Some(67_108_864)),
            ("0::/pods\n", Some(67_108_864)),
            ("0::/\n", None),
            ("0::/../elsewhere\n", None),
            ("", None),
            ("5:cpu:/x\n4:memory:/old\n", Some(1_048_576)),
            ("4:memory:/\n", Some(9_223_372_036_854_771_712)),
        ] {
            assert_eq!(allowed(root.path(), cgroups), expected, "{cgroups:?}");
        }
    }

    #[test]
    fn what_is_there_is_shared_out() {
        let all = Limits::default();
        assert_eq!(fit(&all, None), all);
        assert_eq!(fit(&all, Some(256 << 20)), all);
        for megabytes in [17, 32, 64] {
            let limits = fit(&all, Some(megabytes << 20));
            let taken = BASE_USAGE
                + limits.connections * PER_CONNECTION
                + limits.in_flight * PER_CALL
                + limits.buffer_bytes;
            assert!(taken <= megabytes << 20, "{limits:?}");
            assert!(limits.connections >= 1 && limits.in_flight >= 1);
        }
        // Too little memory for anything still leaves one of each, and one answer.
        let least = fit(&all, Some(1 << 20));
        assert_eq!((least.connections, least.in_flight, least.buffer_bytes), (1, 1, LARGEST_ANSWER));
        let large = Limits { body_bytes: 4 << 20, ..all };
        assert_eq!(fit(&large, Some(1 << 20)).body_bytes, LARGEST_ANSWER / 4);
    }
}
