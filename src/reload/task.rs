//! The task that reloads when files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::{
    notices::{changes, log_findings, log_weakened, weakened},
    restart_only::{Baseline, RestartOnly},
    sync_status::{ReloadState, Reloaded},
};
use crate::{
    config::{self, Report, Severity},
    metrics::Metrics,
    sandbox::{self, REPLACED, Sandbox},
    stage::ActivePolicy,
    upstream::Roots,
    watch::{Files, HANG_TIMEOUT, POLL_INTERVAL, Reader, WatchOutcome, off_thread},
};

/// What a reload replaces, and the metrics that count it.
pub struct Targets {
    /// The active policy.
    pub in_force: Arc<ArcSwap<ActivePolicy>>,
    /// The certificate authorities for upstreams.
    pub roots: Roots,
    /// The metrics that count reloads.
    pub metrics: Arc<Metrics>,
}

pub(super) type Reply = oneshot::Sender<Reloaded>;

/// The task that reloads when the files change, for ever.
pub(super) struct ReloadTask {
    path: PathBuf,
    fixed: Arc<RestartOnly>,
    files: Files,
    target: Targets,
    to_answer: mpsc::UnboundedReceiver<Reply>,
    /// Receivers of the next attempt's result.
    waiting: Vec<Reply>,
    /// Whether a reload was requested since the last finished attempt.
    asked: bool,
    state: Arc<ReloadState>,
    refusals: RefusalStreak,
    reader: Reader,
}

#[derive(Default)]
struct RefusalStreak {
    count: u32,
    /// When to try again.
    next: Option<Instant>,
}

struct Outcome {
    fresh: Result<Candidate, String>,
    /// The files that determined it.
    files: Vec<PathBuf>,
}

struct Candidate {
    in_force: ActivePolicy,
    /// The certificate authorities, if configured.
    roots: Option<Roots>,
    findings: Report,
}

impl ReloadTask {
    pub(super) fn new(
        baseline: Baseline,
        target: Targets,
        to_answer: mpsc::UnboundedReceiver<Reply>,
        state: Arc<ReloadState>,
    ) -> Self {
        let Baseline { path, fixed, snapshot } = baseline;
        Self {
            path,
            fixed: Arc::new(fixed),
            files: Files::holding(&snapshot),
            target,
            to_answer,
            waiting: Vec::new(),
            asked: false,
            state,
            refusals: RefusalStreak::default(),
            reader: Reader::default(),
        }
    }

    /// Checks the files whenever there is a trigger, for ever. The first check finds changes since they were loaded.
    pub(super) async fn run(mut self) {
        loop {
            self.attempt().await;
            self.state.under_way(false);
            self.wait_for_trigger().await;
        }
    }

    async fn wait_for_trigger(&mut self) {
        let tick = Instant::now() + POLL_INTERVAL;
        let next = self.refusals.next.map_or(tick, |next| next.min(tick));
        tokio::select! {
            Some(reply) = self.to_answer.recv() => self.receive(reply),
            () = sleep_until(next) => {}
            () = self.files.changed() => {
                // Usually more events follow at once.
                tokio::select! {
                    Some(reply) = self.to_answer.recv() => self.receive(reply),
                    () = sleep(CHANGE_DEBOUNCE) => {}
                }
            }
        }
    }

    /// Reads the files once they are complete, if they have changed or a reload was requested.
    async fn attempt(&mut self) {
        let began = Instant::now();
        let again = self.refusals.next.is_some_and(|next| next <= began);
        loop {
            while let Ok(reply) = self.to_answer.try_recv() {
                self.receive(reply);
            }
            self.look().await;
            match self.files.state() {
                WatchOutcome::Unsettled(path, left) => {
                    let patience = HANG_TIMEOUT.saturating_sub(began.elapsed());
                    if patience.is_zero() {
                        log_pending(&self.state, &format!("{} is still being written", path.display()));
                    }
                    self.wait(if patience.is_zero() { left } else { left.min(patience) }).await;
                    continue;
                }
                WatchOutcome::Same if !again && !self.asked => {
                    self.state.clear_pending();
                    return;
                }
                WatchOutcome::Same | WatchOutcome::Whole => {}
            }
            if self.asked || self.files.state() == WatchOutcome::Whole {
                self.state.under_way(true);
            }
            let snapshot = self.files.snapshot();
            let Some(Outcome { fresh, files }) = self.read().await else { return };
            self.files.follow(files);
            self.look().await;
            // Otherwise the result may be a mix of old and new files.
            if self.files.are(&snapshot) {
                self.conclude(fresh).await;
                return;
            }
            if began.elapsed() >= HANG_TIMEOUT {
                log_pending(&self.state, "the files keep changing");
            }
        }
    }

    /// Adds a receiver, and drops those that no longer wait.
    fn receive(&mut self, reply: Reply) {
        self.asked = true;
        self.state.under_way(true);
        self.waiting.retain(|reply| !reply.is_closed());
        self.waiting.push(reply);
    }

    async fn wait(&mut self, left: Duration) {
        tokio::select! {
            Some(reply) = self.to_answer.recv() => self.receive(reply),
            () = sleep(left) => {}
            () = self.files.changed() => {}
        }
    }

    pub(super) async fn look(&mut self) {
        let state = Arc::clone(&self.state);
        self.files.look(|path| log_pending(&state, &hangs(path))).await;
        let hang = || log_pending(&state, "checking the sandbox's files takes too long: a file system hangs");
        off_thread(|| sandbox::current().map(Sandbox::look), hang).await;
    }

    /// Reads everything on a blocking thread, because a large policy takes a while.
    async fn read(&mut self) -> Option<Outcome> {
        let (path, fixed) = (self.path.clone(), Arc::clone(&self.fixed));
        let (in_force, state) = (Arc::clone(&self.target.in_force), Arc::clone(&self.state));
        let hang =
            || log_pending(&state, &format!("reading it takes longer than {} s", HANG_TIMEOUT.as_secs()));
        self.reader.off_thread(move || Outcome::of(&path, &fixed, &in_force.load()), hang).await
    }

    async fn conclude(&mut self, fresh: Result<Candidate, String>) {
        // For unchanged content, only a different outcome counts.
        let is_new = self.files.state() == WatchOutcome::Whole;
        self.files.take();
        let result = match fresh {
            Ok(fresh) => self.put_in_force(fresh, is_new).await,
            Err(problem) => self.refuse(problem, is_new),
        };
        self.asked = false;
        for reply in self.waiting.drain(..) {
            drop(reply.send(result.clone()));
        }
    }

    async fn put_in_force(&mut self, fresh: Candidate, is_new: bool) -> Reloaded {
        let Candidate { in_force, roots, findings } = fresh;
        let fresh = Arc::new(in_force);
        let hash = Arc::clone(fresh.policy.hash());
        // Only this task replaces it.
        let before = self.target.in_force.load_full();
        let (now, metrics) = (Arc::clone(&fresh), Arc::clone(&self.target.metrics));
        // With thousands of rules this takes a while.
        let follow = move || {
            metrics.preregister_policy(now.callers.ids(), &now.policy);
            (changes(&before, &now), weakened(&before, &now))
        };
        let (changed, weakened) = self.reader.off_thread(follow, || {}).await.unwrap_or_default();
        if let Some(roots) = roots {
            self.target.roots.become_as(&roots);
        }
        self.target.in_force.store(fresh);
        self.refusals = RefusalStreak::default();
        let recovered = self.state.judged(None);
        self.target.metrics.reloaded(Some(&hash), is_new || recovered);
        tracing::info!(policy = &*hash, changed, "configuration reloaded");
        log_weakened(&weakened);
        log_findings(&findings);
        Reloaded::Applied(hash)
    }

    fn refuse(&mut self, mut problem: String, is_new: bool) -> Reloaded {
        for path in sandbox::current().map(|sandbox| sandbox.behind(&problem)).unwrap_or_default() {
            problem.push_str(&format!("; {}: {REPLACED}", path.display()));
        }
        let was_refused = self.refusals.next.is_some();
        if is_new {
            self.refusals = RefusalStreak::default();
        }
        self.refusals.retry_later();
        if !was_refused || is_new {
            self.target.metrics.reloaded(None, true);
        }
        if self.state.judged(Some(&problem)) || is_new {
            tracing::error!(problem, "configuration not reloaded: the last good one stays in force");
        }
        Reloaded::Refused(problem)
    }
}

impl Outcome {
    fn of(path: &Path, fixed: &RestartOnly, in_force: &ActivePolicy) -> Self {
        let files = |report: &Report| report.files().iter().cloned().collect();
        let loaded = match config::load_again(path) {
            Ok(loaded) => loaded,
            Err(report) => return Self { fresh: Err(summary(&report)), files: files(&report) },
        };
        let files = files(&loaded.warnings);
        let changed = fixed.differences(&RestartOnly::of(&loaded.settings));
        if !changed.is_empty() {
            let problem = format!("changing {} requires a restart", changed.join(", "));
            return Self { fresh: Err(problem), files };
        }
        let roots =
            loaded.settings.upstream.ca_file.as_deref().map(|path| Roots::new(Some(path))).transpose();
        let fresh = roots.map_err(|error| error.to_string()).map(|roots| Candidate {
            in_force: ActivePolicy::new(loaded.settings, Some(in_force)),
            roots,
            findings: loaded.warnings,
        });
        Self { fresh, files }
    }
}

impl RefusalStreak {
    fn retry_later(&mut self) {
        let pause = MIN_BACKOFF.saturating_mul(1 << self.count.min(16));
        self.count += 1;
        self.next = Some(Instant::now() + pause.min(MAX_BACKOFF));
    }
}

/// Formats the errors of a report, one line each: `policy.yaml:12:5: …`.
fn summary(report: &Report) -> String {
    let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
    let lines = errors.map(|problem| format!("{}: {}", problem.position(), problem.message));
    lines.collect::<Vec<_>>().join("; ")
}

fn log_pending(state: &ReloadState, problem: &str) {
    if state.pending(problem) {
        tracing::warn!(problem, "configuration reload pending: the last good one stays in force");
    }
}

fn hangs(path: &Path) -> String {
    format!("reading {} takes longer than {} s", path.display(), HANG_TIMEOUT.as_secs())
}

/// The time in which the events of one change arrive.
const CHANGE_DEBOUNCE: Duration = Duration::from_millis(50);
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
