//! Asks for reloads, for everybody but the task that makes them.

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

/// Asks for a reload, and tells how reloading is doing.
pub struct Reloader {
    asked: mpsc::UnboundedSender<Reply>,
    state: Arc<ReloadState>,
}

impl Reloader {
    /// Replaces what is in force when the files of the baseline change, for as long as the tasks run. They are watched
    /// from now on.
    pub async fn new(baseline: Baseline, target: Targets, tasks: &mut JoinSet<()>) -> Self {
        let (asked, to_answer) = mpsc::unbounded_channel();
        let state = Arc::new(ReloadState::default());
        let mut reloading = ReloadTask::new(baseline, target, to_answer, Arc::clone(&state));
        reloading.look().await;
        tasks.spawn(reloading.run());
        Self { asked, state }
    }

    /// Asks for the files to be read and put in force, and waits for what comes of it, but not for ever.
    pub async fn reload(&self) -> Reloaded {
        let (reply, answer) = oneshot::channel();
        // Where nobody listens, nobody answers.
        drop(self.asked.send(reply));
        match timeout(HANG_TIMEOUT + HANG_TIMEOUT / 10, answer).await {
            Ok(Ok(reloaded)) => reloaded,
            Ok(Err(_)) | Err(_) => {
                let sync_status = self.sync_status();
                Reloaded::Pending(sync_status.problem.unwrap_or_else(|| NOT_YET.into()))
            }
        }
    }

    /// The same, and waits for nothing. What comes of it is logged.
    pub fn ask(&self) {
        drop(self.asked.send(oneshot::channel().0));
    }

    /// Whether a reload is under way; changes with its beginning and its end. One that is pending is not.
    pub fn under_way(&self) -> watch::Receiver<bool> {
        self.state.subscribe()
    }

    /// How it stands now.
    pub fn sync_status(&self) -> SyncStatus {
        self.state.sync_status()
    }
}

/// What is said where there is no better reason.
const NOT_YET: &str = "the files' content is not known yet: they are incomplete or slow to read";
