//! The handle to request reloads and read their status.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    restart_only::Baseline,
    sync_status::{ReloadState, Reloaded, SyncStatus},
    task::{ReloadTask, Reply, Targets},
};
use crate::watch::HANG_TIMEOUT;

/// Requests reloads, and knows their status.
pub struct Reloader {
    asked: mpsc::UnboundedSender<Reply>,
    state: Arc<ReloadState>,
}

impl Reloader {
    /// Starts to watch the files of the baseline and to reload when they change.
    pub async fn new(baseline: Baseline, target: Targets, tasks: &mut JoinSet<()>) -> Self {
        let (asked, to_answer) = mpsc::unbounded_channel();
        let state = Arc::new(ReloadState::default());
        let mut reloading = ReloadTask::new(baseline, target, to_answer, Arc::clone(&state));
        reloading.look().await;
        tasks.spawn(reloading.run());
        Self { asked, state }
    }

    /// Requests a reload, and waits for its result for a limited time.
    pub async fn reload(&self) -> Reloaded {
        let (reply, answer) = oneshot::channel();
        // If the task is gone, nobody answers.
        drop(self.asked.send(reply));
        match timeout(HANG_TIMEOUT + HANG_TIMEOUT / 10, answer).await {
            Ok(Ok(reloaded)) => reloaded,
            Ok(Err(_)) | Err(_) => {
                let sync_status = self.sync_status();
                Reloaded::Pending(sync_status.problem.unwrap_or_else(|| NOT_YET.into()))
            }
        }
    }

    /// Requests a reload without waiting. The result is logged.
    pub fn ask(&self) {
        drop(self.asked.send(oneshot::channel().0));
    }

    /// Returns whether a reload is in progress, as a channel. A pending one is not.
    pub fn under_way(&self) -> watch::Receiver<bool> {
        self.state.subscribe()
    }

    /// Returns the current status.
    pub fn sync_status(&self) -> SyncStatus {
        self.state.sync_status()
    }
}

const NOT_YET: &str = "the files' content is not known yet: they are incomplete or slow to read";
