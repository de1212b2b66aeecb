//! What this machine allows of the configured limits.

use super::{descriptors, memory};
use crate::config::Limits;

/// The limits as descriptors and memory allow them here, with so many upstreams. It is logged where they are lower.
pub fn fit_limits(limits: &Limits, upstreams: usize) -> Limits {
    let limits = descriptors::fit(limits, descriptors::available(), upstreams);
    memory::fit(&limits, memory::available())
}
