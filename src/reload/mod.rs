//! Reloads the configuration. The policy that is in force is replaced, whole and at once, or stays.
//!
//! One task reads the configuration again (`ReloadTask`): when somebody asks it to, when the files change, and when
//! they turn out to differ, which is looked at every few seconds. It waits until they are whole (see [`watch`](crate::watch)).
//! What cannot be loaded, or needs a restart, changes nothing and is said once; it is tried again, because the reason
//! may pass. Everybody else has a [`Reloader`], which asks and tells and never waits for a file. A request takes the
//! policy once and is decided by that one.

mod restart_only;
mod task;
mod start;
mod notices;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

pub use notices::log_findings;
use parking_lot::Mutex;
pub use start::load_when_still;

use crate::{
    clock,
    config::{Loaded, Report, Settings, Severity},
    limit::{CallerLimits, Limiter, fair_share},
    metrics::Metrics,
    stage::ActivePolicy,
    upstream::Roots,
    watch::{HANG_TIMEOUT, Snapshot},
};
use restart_only::RestartOnly;
use task::ReloadTask;

/// Asks for a reload, and tells how reloading is doing.
pub struct Reloader {
    asked: mpsc::UnboundedSender<Reply>,
    state: Arc<ReloadState>,
}

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

/// What a proxy was started with.
pub struct Baseline {
    path: PathBuf,
    fixed: RestartOnly,
    snapshot: Snapshot,
}

/// What a reload replaces, and who counts it.
pub struct Targets {
    /// What requests are decided by.
    pub in_force: Arc<ArcSwap<ActivePolicy>>,
    /// Who is trusted at the end of the ways to upstreams.
    pub roots: Roots,
    /// Where reloads are counted.
    pub metrics: Arc<Metrics>,
}

type Reply = oneshot::Sender<Reloaded>;

/// State of reloading, for those who ask. Its locks are never held while a file is read.
struct ReloadState {
    judged: Mutex<SyncStatus>,
    /// In place of that, while it is not known whether that still holds.
    pending: Mutex<Option<SyncStatus>>,
    /// Whether the files are being read to be put in force.
    under_way: watch::Sender<bool>,
}

impl ActivePolicy {
    /// What a configuration puts in force. Limits that did not change keep their state.
    pub fn new(settings: Settings, before: Option<&Self>) -> Self {
        let none = Limiter::default();
        let projects = settings.projects.iter().filter_map(|p| Some((Arc::clone(&p.id), p.rate_limit?)));
        // They may have been lowered at the start, and take a restart to change.
        let in_flight = before.map_or(settings.limits.in_flight, |before| before.in_flight);
        let share = fair_share(in_flight, settings.caller_limits.len());
        let callers = settings.caller_limits.into_iter().map(|(caller, limits)| {
            (caller, CallerLimits { in_flight: limits.in_flight.or(share), ..limits })
        });
        let limiter = Limiter::new(callers, projects, before.map_or(&none, |b| &b.limiter));
        let Settings { callers, policy, tls, .. } = settings;
        Self { callers, policy, limiter, in_flight, tls, since: clock::now() }
    }
}

impl Baseline {
    /// Of the configuration at `path`, which was just loaded.
    pub fn new(path: PathBuf, loaded: &Loaded) -> Self {
        Self { path, fixed: RestartOnly::of(&loaded.settings), snapshot: loaded.snapshot.clone() }
    }
}

impl Reloader {
    /// Replaces what is in force when the files of the baseline change, for as long as the tasks run. They are watched
    /// from now on.
    pub async fn new(baseline: Baseline, target: Targets, tasks: &mut JoinSet<()>) -> Self {
        let (asked, to_answer) = mpsc::unbounded_channel();
        let state = Arc::new(ReloadState::default());
        let mut reloading = ReloadTask::new(baseline, target, (to_answer, Arc::clone(&state)));
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
        self.state.under_way.subscribe()
    }

    /// How it stands now.
    pub fn sync_status(&self) -> SyncStatus {
        let pending = self.state.pending.lock().clone();
        pending.unwrap_or_else(|| self.state.judged.lock().clone())
    }
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
    /// A reload begins or ends.
    fn under_way(&self, is: bool) {
        self.under_way.send_if_modified(|was| std::mem::replace(was, is) != is);
    }

    /// It was judged so. Says whether that, or its reason, is news.
    fn judged(&self, problem: Option<&str>) -> bool {
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
    fn pending(&self, problem: &str) -> bool {
        self.under_way(false);
        let mut pending = self.pending.lock();
        let since = pending.as_ref().map_or_else(clock::now, |sync_status| sync_status.since);
        let news = pending.as_ref().is_none_or(|sync_status| sync_status.problem.as_deref() != Some(problem));
        *pending = Some(SyncStatus { state: SyncState::Pending, problem: Some(problem.into()), since });
        news
    }

    fn clear_pending(&self) {
        *self.pending.lock() = None;
    }
}

/// What is said where there is no better reason.
const NOT_YET: &str = "what the files hold is not known yet: they are not whole, or reading them takes long";

/// The errors of a report, one line each: `policy.yaml:12:5: …`.
fn summary(report: &Report) -> String {
    let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
    let lines = errors.map(|problem| format!("{}: {}", problem.position(), problem.message));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
