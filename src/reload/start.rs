//! Loads the configuration at start, once its files are complete.

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

/// Loads the configuration once nobody can still be writing its files: recently written files are read until they stay the
/// same. The result comes from files that did not change meanwhile.
///
/// # Errors
/// See [`config::load`]; or the files keep changing for too long.
pub fn load_when_still(path: &Path) -> Result<Loaded, Report> {
    let end = Instant::now() + HANG_TIMEOUT;
    let (mut before, mut waited) = (None, false);
    loop {
        let began = SystemTime::from(clock::now());
        let result = config::load(path);
        // An invalid key that is still being written is an error, too.
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
