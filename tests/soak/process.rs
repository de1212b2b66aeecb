//! What does the proxy take from its machine? Memory and descriptors, as the kernel counts them.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::Proxy;

/// The memory that it has in RAM, in KiB.
pub(crate) fn resident(proxy: &Proxy) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many descriptors it has open.
pub(crate) fn descriptors(proxy: &Proxy) -> usize {
    fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count()
}

/// Lets this process and those that it starts open as many files as they may.
pub(crate) fn raise_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

pub(crate) fn mib(kib: usize) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
