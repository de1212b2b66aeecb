//! The sync status: whether the configuration in force is that of the files.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The policy with this hash is in force.
    Applied(Arc<str>),
    /// The previous policy stays in force for this reason.
    Refused(String),
    /// The previous policy stays in force for now: the files are incomplete, or cannot be read in time.
    Pending(String),
}

/// How the files relate to the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// The state.
    pub state: SyncState,
    /// Why the files are not in force.
    pub problem: Option<String>,
    /// When the state began.
    pub since: DateTime<Utc>,
}

/// See [`SyncStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// The files are in force.
    InForce,
    /// Unknown yet: the files are incomplete, or cannot be read in time.
    Pending,
    /// The files were refused.
    Refused,
}

/// The shared state of reloading. Its locks are never held while a file is read.
pub(super) struct ReloadState {
    judged: Mutex<SyncStatus>,
    /// Takes precedence while it is unknown whether the judgement still holds.
    pending: Mutex<Option<SyncStatus>>,
    /// Whether a reload is in progress.
    under_way: watch::Sender<bool>,
}

impl SyncState {
    /// Returns its name in `/status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Pending => "pending",
            Self::Refused => "refused",
        }
    }
}

impl Default for ReloadState {
    fn default() -> Self {
        let judged = Mutex::new(SyncStatus { state: SyncState::InForce, problem: None, since: clock::now() });
        Self { judged, pending: Mutex::default(), under_way: watch::Sender::default() }
    }
}

impl ReloadState {
    pub(super) fn sync_status(&self) -> SyncStatus {
        let pending = self.pending.lock().clone();
        pending.unwrap_or_else(|| self.judged.lock().clone())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.under_way.subscribe()
    }

    /// Notes that a reload begins or ends.
    pub(super) fn under_way(&self, is: bool) {
        self.under_way.send_if_modified(|was| std::mem::replace(was, is) != is);
    }

    /// Notes a judgement. Returns whether it or its reason is new.
    pub(super) fn judged(&self, problem: Option<&str>) -> bool {
        self.clear_pending();
        let state = problem.map_or(SyncState::InForce, |_| SyncState::Refused);
        let mut judged = self.judged.lock();
        let news = judged.problem.as_deref() != problem;
        if news {
            // A changed reason does not restart the time of the refusal.
            let since = if judged.state == state { judged.since } else { clock::now() };
            *judged = SyncStatus { state, problem: problem.map(str::to_owned), since };
        }
        news
    }

    /// Notes that it is pending. Returns whether the reason is new.
    pub(super) fn pending(&self, problem: &str) -> bool {
        self.under_way(false);
        let mut pending = self.pending.lock();
        let since = pending.as_ref().map_or_else(clock::now, |sync_status| sync_status.since);
        let news = pending.as_ref().is_none_or(|sync_status| sync_status.problem.as_deref() != Some(problem));
        *pending = Some(SyncStatus { state: SyncState::Pending, problem: Some(problem.into()), since });
        news
    }

    pub(super) fn clear_pending(&self) {
        *self.pending.lock() = None;
    }
}
