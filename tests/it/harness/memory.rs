//! Memory of a process. As the kernel counts it, in KiB.

use std::fs;

/// Fails where it ever had more in RAM than is promised. Returns the most it had, or none where it has ended.
pub(crate) fn peak(id: u32) -> Option<usize> {
    let peak = of(id, "VmHWM")?;
    assert!(peak <= MOST, "{} of memory", mib(peak));
    Some(peak)
}

pub(crate) fn mib(kib: usize) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

/// A line of proc_pid_status(5), or none where the process has ended.
pub(crate) fn of(id: u32, name: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()
}

/// An unoptimised binary takes more.
const MOST: usize = if cfg!(debug_assertions) { 96 } else { 64 } * 1024;
