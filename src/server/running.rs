//! A running proxy and its shutdown. What was accepted is answered, or cut and recorded.

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

/// A proxy that serves.
pub struct Running {
    pub(super) drain: Drain,
    pub(super) status: ProxyStatus,
    /// Connections, requests and accept loops.
    pub(super) tasks: TaskTracker,
    /// Renewal and sweeping: ended by being dropped.
    pub(super) _background: JoinSet<()>,
    pub(super) stop: CancellationToken,
    pub(super) limiter: Arc<ConnectionLimiter>,
    pub(super) workers: Workers,
    pub(super) cutoff: Cutoff,
}

/// What a proxy had under way when it ended.
#[must_use = "what was cut has no record yet"]
pub struct Unfinished {
    tasks: TaskTracker,
    sink: Sink,
    workers: Workers,
}

/// How a proxy stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was accepted was answered, and its record is written.
    Whole,
    /// Some of it was cut off when the drain time-out ended.
    Cut,
    /// It was answered, but records could not be written.
    Unrecorded,
}

impl Running {
    /// Its state, and what an operator may change about it.
    pub fn status(&self) -> &ProxyStatus {
        &self.status
    }

    /// Opens the audit file anew, after a log rotation moved it away.
    ///
    /// # Errors
    /// Where it cannot be opened; the one that is open stays in use.
    pub fn reopen_audit(&self) -> Result<(), OpenError> {
        self.status.sink.reopen()
    }

    /// Returns when each thread that serves has had its turn. Where one is stuck, that does not come.
    pub async fn serves(&self) {
        self.workers.turn().await;
    }

    /// How long stopping may take.
    pub fn patience(&self) -> Duration {
        self.drain.delay + self.drain.timeout
    }

    /// Stops: not ready, then a delay for load balancers to notice, then no new connections, then what is under
    /// way is finished, within the drain time-out.
    pub async fn drain(&self) -> Drained {
        self.status.health.draining();
        sleep(self.drain.delay).await;
        self.stop.cancel();
        self.limiter.stop();
        self.tasks.close();
        let end = Instant::now() + self.drain.timeout;
        let finished = timeout_at(end.into(), self.tasks.wait()).await;
        // What waits until here is cut, and must not begin now.
        self.cutoff.end();
        let recorded = self.status.sink.finish(end.into()).await;
        match (finished, recorded) {
            (Err(_), _) => Drained::Cut,
            (Ok(()), recorded) if recorded && self.status.sink.end() => Drained::Whole,
            (Ok(()), _) => Drained::Unrecorded,
        }
    }

    /// What is under way still, for the moment when the accept loops have been shut down.
    pub fn unfinished(self) -> Unfinished {
        self.cutoff.end();
        Unfinished { tasks: self.tasks, sink: self.status.sink, workers: self.workers }
    }
}

impl Unfinished {
    /// Sees that each call that was cut has its record: it is written when the call is dropped, with its worker.
    pub fn record(self) {
        drop(self.workers);
        let end = Instant::now() + CUT_TIMEOUT;
        while !self.tasks.is_empty() && Instant::now() < end {
            thread::sleep(CUT_TIMEOUT / 1000);
        }
        let _whole = self.sink.end();
    }
}

/// Dropping all calls takes no longer.
const CUT_TIMEOUT: Duration = Duration::from_secs(2);
