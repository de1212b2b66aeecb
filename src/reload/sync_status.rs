//! The sync status: whether what is in force is what the files hold.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;

/// What came of looking at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The policy with this hash is in force.
    Applied(Arc<str>),
    /// What was in force stays, for this reason.
    Refused(String),
    /// What was in force stays for now: the files are not whole yet, or cannot be read in time.
    Pending(String),
}

/// How what the files hold is related to what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// What it is.
    pub state: SyncState,
    /// Why it is not in force.
    pub problem: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// See [`SyncStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It is in force.
    InForce,
    /// It is not known yet: they are not whole, or cannot be read in time.
    Pending,
    /// It is refused.
    Refused,
}

/// State of reloading, for those who ask. Its locks are never held while a file is read.
pub(super) struct ReloadState {
    judged: Mutex<SyncStatus>,
    /// In place of that, while it is not known whether that still holds.
    pending: Mutex<Option<SyncStatus>>,
    /// Whether the files are being read to be put in force.
    under_way: watch::Sender<bool>,
}

impl SyncState {
    /// As `/status` has it.
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
        let sync_status = SyncStatus { state: SyncState::InForce, problem: None, since: clock::now() };
        Self {
            judged: Mutex::new(sync_status),
            pending: Mutex::default(),
            under_way: watch::Sender::default(),
        }
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

    /// A reload begins or ends.
    pub(super) fn under_way(&self, is: bool) {
        self.under_way.send_if_modified(|was| std::mem::replace(was, is) != is);
    }

    /// It was judged so. Says whether that, or its reason, is news.
    pub(super) fn judged(&self, problem: Option<&str>) -> bool {
        self.clear_pending();
        let state = problem.map_or(SyncState::InForce, |_| SyncState::Refused);
        let mut judged = self.judged.lock();
        let news = judged.problem.as_deref() != problem;
        if news {
            // A reason that changes does not make it refused for a shorter time.
            let since = if judged.state == state { judged.since } else { clock::now() };
            *judged = SyncStatus { state, problem: problem.map(str::to_owned), since };
        }
        news
    }

    /// It is not known. Says whether the reason is news.
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
