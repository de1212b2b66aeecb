//! What has to be done again and again while the proxy runs? Reading credentials, closing idle connections, looking
//! for the freeze file. Each runs for ever and ends by being dropped.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::interval;

use crate::{
    credential::{Held, ProvideError},
    limit::Freeze,
    metrics::Metrics,
    upstream::Upstream,
};

/// Reads a credential's source, and counts it.
pub(super) async fn refresh(held: &Held, metrics: &Metrics) -> Result<bool, ProvideError> {
    let result = held.refresh().await;
    metrics.refreshed(held.name(), result.is_ok());
    result
}

/// Reads a credential's source again and again. A failure keeps the last good value, and is logged when it starts.
pub(super) async fn renew(held: Arc<Held>, metrics: Arc<Metrics>) {
    let mut failing = held.current().is_none();
    let mut ticks = interval(RENEWAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match refresh(&held, &metrics).await {
            Ok(changed) => {
                if changed || failing {
                    tracing::info!(credential = %held.name(), "a credential was read");
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    let error = report(&error);
                    tracing::warn!(credential = %held.name(), error, "a credential cannot be read: the last one stays");
                }
                failing = true;
            }
        }
    }
}

/// Closes idle connections to upstream.
pub(super) async fn sweep(upstreams: Vec<Arc<Upstream>>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        for upstream in &upstreams {
            upstream.sweep();
        }
    }
}

/// Freezes all calls while the file is there.
pub(super) async fn look_for(path: PathBuf, freeze: Freeze) {
    let mut ticks = interval(FREEZE_FILE);
    loop {
        ticks.tick().await;
        let frozen = path.exists();
        if freeze.by_file(frozen) {
            tracing::warn!(frozen, file = %path.display(), "the freeze file changed the freeze");
        }
    }
}

/// An error with its causes, on one line.
pub(super) fn report(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out.push_str(": ");
        out.push_str(&error.to_string());
        cause = error.source();
    }
    out
}

/// How often a credential's source is read again: a mounted Secret changes without notice.
const RENEWAL: Duration = Duration::from_secs(10);
/// How soon a freeze file is noticed.
const FREEZE_FILE: Duration = Duration::from_millis(200);
const SWEEP: Duration = Duration::from_secs(5);
