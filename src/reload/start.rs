//! Loads the configuration at startup once its files are whole.

use std::{
    path::Path,
    thread::sleep,
    time::{Instant, SystemTime},
};

use crate::{
    clock,
    config::{self, Loaded, Report},
    watch::{HANG_TIMEOUT, SETTLE_TIME, Snapshot},
};

/// Loads the configuration, as soon as nobody can be writing its files any more: files that were written to a moment
/// ago are read until they stay the same. What is returned was read from files that did not change meanwhile.
///
/// # Errors
/// As of [`config::load`], or that the files are not still in time.
pub fn load_when_still(path: &Path) -> Result<Loaded, Report> {
    let end = Instant::now() + HANG_TIMEOUT;
    let (mut before, mut waited) = (None, false);
    loop {
        let began = SystemTime::from(clock::now());
        let result = config::load(path);
        // What is wrong with a key that is being written is an error, too.
        let looks = match &result {
            Ok(loaded) => loaded.snapshot.clone().and(Snapshot::at(loaded.warnings.secrets())),
            Err(report) => Snapshot::at(report.files().union(report.secrets())),
        };
        let same = before.as_ref() == Some(&looks);
        let fresh = looks.fresh().map(Path::to_owned);
        if (fresh.is_none() || (waited && same)) && (same || !looks.are_younger_than(began)) {
            return result;
        }
        if let (Some(fresh), true) = (&fresh, Instant::now() >= end) {
            let message = format!("is still being written after {} s", HANG_TIMEOUT.as_secs());
            return Err(Report::of(fresh, &message, "start the proxy when its writer has finished"));
        }
        waited = fresh.is_some();
        if waited {
            sleep(SETTLE_TIME);
        }
        before = Some(looks);
    }
}
