//! Memory of a process as counted by the kernel, in KiB.

use std::fs;

/// Fails if its RAM ever exceeded the promise. Returns the peak, or `None` if it has ended.
pub(crate) fn peak(id: u32) -> Option<usize> {
    let peak = of(id, "VmHWM")?;
    assert!(peak <= MOST, "{} of memory", mib(peak));
    Some(peak)
}

pub(crate) fn mib(kib: usize) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

/// A line of proc_pid_status(5), or `None` if the process has ended.
pub(crate) fn of(id: u32, name: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()
}

/// An unoptimised binary needs more.
const MOST: usize = if cfg!(debug_assertions) { 96 } else { 64 } * 1024;
