//! A running proxy and its shutdown. Accepted requests are answered, or cut off and recorded.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ProxyStatus, limiter::ConnectionLimiter, worker::Workers};
use crate::{
    audit::{OpenError, Sink},
    config::Drain,
    limit::Cutoff,
};

/// A running proxy.
pub struct Running {
    pub(super) drain: Drain,
    pub(super) status: ProxyStatus,
    /// Connections, requests and accept loops.
    pub(super) tasks: TaskTracker,
    /// Renewal and sweeping, which end when dropped.
    pub(super) _background: JoinSet<()>,
    pub(super) stop: CancellationToken,
    pub(super) limiter: Arc<ConnectionLimiter>,
    pub(super) workers: Workers,
    pub(super) cutoff: Cutoff,
}

/// The calls in flight when a proxy ended.
#[must_use = "calls that were cut off are recorded by `record`"]
pub struct Unfinished {
    tasks: TaskTracker,
    sink: Sink,
    workers: Workers,
}

/// How a proxy stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All accepted requests were answered and recorded.
    Whole,
    /// Some requests were cut off when the drain time-out ended.
    Cut,
    /// All requests were answered, but some records could not be written.
    Unrecorded,
}

impl Running {
    /// Returns its state, and what an operator may change about it.
    pub fn status(&self) -> &ProxyStatus {
        &self.status
    }

    /// Reopens the audit file after a log rotation.
    ///
    /// # Errors
    /// If it cannot be opened. Then the open file stays in use.
    pub fn reopen_audit(&self) -> Result<(), OpenError> {
        self.status.sink.reopen()
    }

    /// Returns when each serving thread has run a task. Never returns if one is stuck.
    pub async fn serves(&self) {
        self.workers.turn().await;
    }

    /// How long stopping may take.
    pub fn patience(&self) -> Duration {
        self.drain.delay + self.drain.timeout
    }

    /// Stops: first not ready, then a delay for load balancers to notice, then no new connections, then calls in flight are
    /// finished within the drain time-out.
    pub async fn drain(&self) -> Drained {
        self.status.health.draining();
        sleep(self.drain.delay).await;
        self.stop.cancel();
        self.limiter.stop();
        self.tasks.close();
        let end = Instant::now() + self.drain.timeout;
        let finished = timeout_at(end.into(), self.tasks.wait()).await;
        // Calls that still wait are cut off, and must not begin now.
        self.cutoff.end();
        let recorded = self.status.sink.finish(end.into()).await;
        match (finished, recorded) {
            (Err(_), _) => Drained::Cut,
            (Ok(()), recorded) if recorded && self.status.sink.end() => Drained::Whole,
            (Ok(()), _) => Drained::Unrecorded,
        }
    }

    /// Returns the calls still in flight, to be recorded after the accept loops have been shut down.
    pub fn unfinished(self) -> Unfinished {
        self.cutoff.end();
        Unfinished { tasks: self.tasks, sink: self.status.sink, workers: self.workers }
    }
}

impl Unfinished {
    /// Records the calls that were cut off: each record is written when the call is dropped with its worker.
    pub fn record(self) {
        drop(self.workers);
        let end = Instant::now() + CUT_TIMEOUT;
        while !self.tasks.is_empty() && Instant::now() < end {
            thread::sleep(CUT_TIMEOUT / 1000);
        }
        let _whole = self.sink.end();
    }
}

/// The time for dropping all calls.
const CUT_TIMEOUT: Duration = Duration::from_secs(2);
