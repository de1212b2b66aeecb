//! Promises with figures: a thousand calls, five thousand slow callers, a million requests. Each is a test of
//! some seconds by default; environment variables enlarge it (docs/THREAT_MODEL.md has the commands).
//!
//! The load comes from this process; the proxy is the real binary, in front of the harness' upstreams. Asserted are
//! counts and invariants, never times: those are printed and visible with `--nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking; figures are what this one is for"
)]

#[expect(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    reason = "the harness of tests/it, of which this target needs a part"
)]
#[path = "../it/harness/mod.rs"]
mod harness;

mod cgroup;
mod credentials;
mod hang_ups;
mod load;
mod memory;
mod mixed;
mod policy;
mod process;
mod slow;
mod strangers;
mod trail;
mod upstream;

/// The size of a test: by the environment, or small.
fn size(variable: &str, small: usize) -> usize {
    std::env::var(variable).map_or(small, |text| text.parse().unwrap())
}
