//! Periodic background work: renewing credentials, closing idle connections, ageing the retry budget. Each task runs until
//! it is dropped.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

use super::Health;
use crate::{
    config::Settings,
    credential::{Refresher, Round},
    metrics::Metrics,
    upstream::Upstream,
};

/// Starts the renewals. Returns when the sources on this machine have been asked, so that the first call need not
/// wait for them. Remote sources are not waited for.
pub(super) async fn start(
    refreshers: Vec<Refresher>,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    health: &Health,
) -> JoinSet<()> {
    let local = |name: &Arc<str>| settings.credentials.iter().any(|c| c.name == *name && c.source.is_local());
    let cached: Vec<_> = refreshers.iter().map(|refresher| Arc::clone(refresher.cached())).collect();
    let mut tasks = JoinSet::new();
    for refresher in refreshers {
        tasks.spawn(renew(refresher, Arc::clone(metrics), health.clone()));
    }
    let asked = async {
        for cached in cached.iter().filter(|cached| local(cached.name())) {
            cached.asked_once().await;
        }
    };
    // A file on a mount that hangs counts as remote.
    drop(timeout(LOCAL_SOURCES_TIMEOUT, asked).await);
    tasks
}

/// Keeps a credential fresh. Logs when renewals start to fail, and when they work again.
async fn renew(mut refresher: Refresher, metrics: Arc<Metrics>, health: Health) {
    let credential = Arc::clone(refresher.cached().name());
    let mut failing = false;
    loop {
        let round = refresher.round().await;
        metrics.refreshed(&credential, !matches!(round, Round::Failed(_)));
        match &round {
            Round::Failed(error) if !failing => {
                let error = error.with_causes();
                let means = if refresher.cached().is_ready() {
                    "the last one stays in use"
                } else {
                    "its calls are refused"
                };
                tracing::warn!(%credential, %error, "credential refresh failed: {means}");
            }
            Round::Changed => tracing::info!(%credential, "credential refreshed"),
            Round::Same if failing => tracing::info!(%credential, "credential refresh works again"),
            Round::Failed(_) | Round::Same => {}
        }
        // After the log line: whoever waits for this may end the process.
        health.attempted(&credential, matches!(&round, Round::Failed(error) if error.is_lasting()));
        failing = matches!(round, Round::Failed(_));
        refresher.rest().await;
    }
}

/// Ages the call counts of the retry budget.
pub(super) async fn age(upstreams: Vec<Arc<Upstream>>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        upstreams.iter().for_each(|upstream| upstream.budget().age());
    }
}

/// Closes idle connections to upstream.
pub(super) async fn sweep(upstreams: Vec<Arc<Upstream>>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        for upstream in &upstreams {
            upstream.sweep();
        }
    }
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long the sources on this machine are waited for.
const LOCAL_SOURCES_TIMEOUT: Duration = Duration::from_secs(5);
