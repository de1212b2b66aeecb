//! The promises that are figures: a thousand calls, five thousand slow callers, a million requests. Each is a test of
//! some seconds here; the environment makes it as large as anybody likes (docs/THREAT_MODEL.md has the commands).
//!
//! The load is this target's own and its proxy the real binary, in front of the harness' upstreams. What is asserted is
//! counts and what must never be, and not one time: times are printed, for whoever looks with `--nocapture`.

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

/// How large a test is: what the environment says, or what takes a moment.
fn size(variable: &str, small: usize) -> usize {
    std::env::var(variable).map_or(small, |text| text.parse().unwrap())
}
