//! Lowers the configured limits to what this machine allows.

use super::{descriptors, memory};
use crate::config::Limits;

/// Returns the limits that descriptors and memory allow with this number of upstreams. Logs those that are lowered.
pub fn fit_limits(limits: &Limits, upstreams: usize) -> Limits {
    let limits = descriptors::fit(limits, descriptors::available(), upstreams);
    memory::fit(&limits, memory::available())
}
