//! Sandbox support of this kernel. Tried on a thread that ends, so this command is not confined.

use super::finding::Finding;
use crate::{
    config::{Report, Settings},
    sandbox::{Restriction, Sandbox},
};

/// What would be in force in a proxy with this configuration, a finding a measure.
pub(super) fn look(settings: &Settings, warnings: &Report) -> Vec<Finding> {
    Sandbox::tried(settings, warnings)
        .measures()
        .into_iter()
        .map(|(name, measure)| finding(name, measure))
        .collect()
}

fn finding(name: &'static str, measure: &Restriction) -> Finding {
    let finding = Finding::ok("sandbox", name, measure.to_string()).fact("state", measure.to_string());
    match measure {
        Restriction::On => finding,
        Restriction::Partly | Restriction::Off(_) => {
            finding.warn("use a newer kernel, or a container that allows it; the proxy runs without")
        }
    }
}
