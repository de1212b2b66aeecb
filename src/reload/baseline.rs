//! The baseline: what a proxy was started with, and reloads start from.

use std::path::PathBuf;

use super::restart_only::RestartOnly;
use crate::{config::Loaded, watch::Snapshot};

/// What a proxy was started with.
pub struct Baseline {
    pub(super) path: PathBuf,
    pub(super) fixed: RestartOnly,
    pub(super) snapshot: Snapshot,
}

impl Baseline {
    /// Of the configuration at `path`, which was just loaded.
    pub fn new(path: PathBuf, loaded: &Loaded) -> Self {
        Self { path, fixed: RestartOnly::of(&loaded.settings), snapshot: loaded.snapshot.clone() }
    }
}
