//! How does a proxy end? What was accepted is answered, or cut and recorded.

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

use super::{Insight, room::Room};
use crate::{
    audit::{OpenError, Sink},
    config::Drain,
    limit::Cutoff,
};

/// A proxy that serves.
pub struct Running {
    pub(super) drain: Drain,
    pub(super) insight: Insight,
    /// Connections, requests and accept loops.
    pub(super) tasks: TaskTracker,
    /// Renewal and sweeping: ended by being dropped.
    pub(super) _background: JoinSet<()>,
    pub(super) stop: CancellationToken,
    pub(super) room: Arc<Room>,
    pub(super) cutoff: Cutoff,
}

/// What a proxy had under way when it ended.
#[must_use = "what was cut has no record yet"]
pub struct Unfinished {
    tasks: TaskTracker,
    sink: Sink,
}

/// How a proxy stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was accepted was answered, and its record is written.
    Whole,
    /// Some of it was cut off when the drain time-out ended, or its record could not be written until then.
    Cut,
}

impl Running {
    /// Its state, and what an operator may change about it.
    pub fn insight(&self) -> &Insight {
        &self.insight
    }

    /// Opens the audit file anew, after a log rotation moved it away.
    ///
    /// # Errors
    /// Where it cannot be opened; the one that is open stays in use.
    pub fn reopen_audit(&self) -> Result<(), OpenError> {
        self.insight.sink.reopen()
    }

    /// Stops: not ready, then a delay for load balancers to notice, then no new connections, then what is under
    /// way is finished, within the drain time-out.
    pub async fn drain(&self) -> Drained {
        self.insight.health.draining();
        sleep(self.drain.delay).await;
        self.stop.cancel();
        self.room.say_farewell(FAREWELL.min(self.drain.timeout / 2));
        self.tasks.close();
        let end = Instant::now() + self.drain.timeout;
        let finished = timeout_at(end.into(), self.tasks.wait()).await;
        // What waits until here is cut, and must not begin now.
        self.cutoff.end();
        let recorded = self.insight.sink.finish(end.into()).await;
        if finished.is_err() || !recorded {
            return Drained::Cut;
        }
        self.insight.sink.end();
        Drained::Whole
    }

    /// What is under way still, for the moment when its runtime has been shut down.
    pub fn unfinished(self) -> Unfinished {
        self.cutoff.end();
        Unfinished { tasks: self.tasks, sink: self.insight.sink }
    }
}

impl Unfinished {
    /// Sees that each call that was cut has its record. To be called once the runtime drops its tasks: each call writes
    /// its record when it is dropped.
    pub fn record(self) {
        let end = Instant::now() + CUT;
        while !self.tasks.is_empty() && Instant::now() < end {
            thread::sleep(CUT / 1000);
        }
        self.sink.end();
    }
}

/// Dropping all calls takes no longer.
const CUT: Duration = Duration::from_secs(2);
/// How long a connection may be without a request before a stopping proxy closes it: one may be on its way.
const FAREWELL: Duration = Duration::from_secs(1);
