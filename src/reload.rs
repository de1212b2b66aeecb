//! What when the files change? The policy that is in force is replaced, whole and at once, or stays.
//!
//! A [`Reloader`] reads the configuration again on SIGHUP, when the directories of its files change, and when
//! their contents turn out to differ, which is looked at every few seconds: not every change is announced (a bind
//! mount's is not). What cannot be loaded, or needs a restart, changes nothing and is said once. A request takes
//! the policy once and is decided by that one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::interval;

use crate::{
    clock,
    config::{
        self, Admin, AuditSettings, CredentialSettings, Drain, Limits, Listener, Loaded, LogSettings, Ops,
        Project, Report, Settings, Severity, UpstreamSettings,
    },
    limit::{CallerLimits, Limiter, fair_share},
    metrics::Metrics,
    stage::InForce,
    watch::{Contents, Watcher},
};

/// Replaces what is in force when the files change.
pub struct Reloader {
    path: PathBuf,
    fixed: Fixed,
    in_force: Arc<ArcSwap<InForce>>,
    metrics: Arc<Metrics>,
    last: Mutex<Last>,
}

/// What came of looking at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The policy with this hash is in force.
    Applied(Arc<str>),
    /// What was in force stays, for this reason.
    Refused(String),
}

/// What a proxy was started with.
pub struct Baseline {
    path: PathBuf,
    fixed: Fixed,
    contents: Contents,
}

/// The part of a configuration that takes a restart to change.
#[derive(PartialEq)]
struct Fixed {
    listeners: Vec<Listener>,
    ops: Option<Ops>,
    admin: Option<Admin>,
    freeze_file: Option<PathBuf>,
    projects: Vec<Project>,
    credentials: Vec<CredentialSettings>,
    upstream: UpstreamSettings,
    limits: Limits,
    drain: Drain,
    audit: AuditSettings,
    log: LogSettings,
}

struct Last {
    contents: Contents,
    /// Why the last attempt was refused, if it was.
    refused: Option<String>,
}

impl InForce {
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
        let contents = Contents::of(loaded.warnings.files().iter().cloned());
        Self { path, fixed: Fixed::of(&loaded.settings), contents }
    }
}

impl Reloader {
    /// Replaces `in_force` when the files of the baseline change.
    pub fn new(baseline: Baseline, in_force: Arc<ArcSwap<InForce>>, metrics: Arc<Metrics>) -> Self {
        let Baseline { path, fixed, contents } = baseline;
        Self { path, fixed, in_force, metrics, last: Mutex::new(Last { contents, refused: None }) }
    }

    /// Reads the files and puts what they say in force.
    pub fn reload(&self) -> Reloaded {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the files are read: what changes from here on is seen the next time.
        let contents = last.contents.as_of_now();
        let (result, files) = match config::load_again(&self.path) {
            Ok(loaded) => {
                let files = loaded.warnings.files().clone();
                (self.apply(loaded.settings), files)
            }
            Err(report) => (Reloaded::Refused(summary(&report)), report.files().clone()),
        };
        last.contents = contents.with(&files);
        self.say(&result, &mut last);
        result
    }

    /// The same, if the contents of the files are not those of the last time.
    pub fn reload_if_changed(&self) -> Option<Reloaded> {
        let changed = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.contents.as_of_now() != last.contents
        };
        changed.then(|| self.reload())
    }

    /// Why the last attempt was refused, if it was.
    pub fn problem(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// Looks at the files whenever there is a reason to, for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut watcher = Watcher::default();
        let mut ticks = interval(COMPARE);
        loop {
            let files: Vec<PathBuf> = {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                last.contents.files().cloned().collect()
            };
            watcher.follow(files);
            tokio::select! {
                _ = ticks.tick() => {}
                () = watcher.changed() => {}
            }
            let reloader = Arc::clone(&self);
            // Reading and compiling a large policy takes milliseconds that belong to requests.
            drop(tokio::task::spawn_blocking(move || reloader.reload_if_changed()).await);
        }
    }

    fn apply(&self, settings: Settings) -> Reloaded {
        let changed = self.fixed.differences(&Fixed::of(&settings));
        if !changed.is_empty() {
            return Reloaded::Refused(format!("a restart is needed to change {}", changed.join(", ")));
        }
        let fresh = InForce::new(settings, Some(&self.in_force.load()));
        self.metrics.foresee_policy(fresh.callers.ids(), &fresh.policy);
        let hash = Arc::clone(fresh.policy.hash());
        self.in_force.store(Arc::new(fresh));
        Reloaded::Applied(hash)
    }

    fn say(&self, result: &Reloaded, last: &mut Last) {
        match result {
            Reloaded::Applied(hash) => {
                self.metrics.reloaded(Some(hash));
                tracing::info!(policy = &**hash, "the configuration was reloaded");
                last.refused = None;
            }
            Reloaded::Refused(problem) => {
                self.metrics.reloaded(None);
                tracing::error!(
                    problem,
                    "the configuration was not reloaded: the last good one stays in force"
                );
                last.refused = Some(problem.clone());
            }
        }
    }
}

impl Fixed {
    fn of(settings: &Settings) -> Self {
        // Quotas are not fixed: a reload may change them.
        let project = |p: &Arc<Project>| Project { rate_limit: None, ..Project::clone(p) };
        Self {
            listeners: settings.listeners.clone(),
            ops: settings.ops.clone(),
            admin: settings.admin.clone(),
            freeze_file: settings.freeze_file.clone(),
            projects: settings.projects.iter().map(project).collect(),
            credentials: settings.credentials.clone(),
            upstream: settings.upstream.clone(),
            limits: settings.limits.clone(),
            drain: settings.drain.clone(),
            audit: settings.audit.clone(),
            log: settings.log.clone(),
        }
    }

    /// The sections that differ.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            ("listeners", self.listeners != other.listeners),
            ("ops", self.ops != other.ops),
            ("admin", self.admin != other.admin),
            ("freeze_file", self.freeze_file != other.freeze_file),
            ("projects", self.projects != other.projects),
            ("credentials", self.credentials != other.credentials),
            ("upstream", self.upstream != other.upstream),
            ("limits", self.limits != other.limits),
            ("drain", self.drain != other.drain),
            ("audit", self.audit != other.audit),
            ("log", self.log != other.log),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }
}

/// The errors of a report, one line each: `policy.yaml:12:5: …`.
fn summary(report: &Report) -> String {
    let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
    let lines = errors.map(|problem| match problem.place {
        Some(place) => format!("{}:{}:{}: {}", problem.file, place.line, place.column, problem.message),
        None => format!("{}: {}", problem.file, problem.message),
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// How often contents are compared when nothing announces a change.
const COMPARE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        audit::{Sink, Target, WhenBlocked},
        metrics::Foreseen,
    };

    const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [ { name: app, bind: 127.0.0.1:8080 } ]
projects: [ { name: p, id: p1, endpoint: 'http://127.0.0.1:1', credential: c } ]
credentials: { c: { environment: {} } }
";
    const POLICY: &str = "version: 1
callers: { a: { identify: [ { listener: app } ] } }
rules: [ { id: r, effect: allow, callers: [a], actions: ['*'], projects: [p], jobs: ['*'] } ]
";

    fn reloader(folder: &Path) -> Reloader {
        let path = folder.join("proxy.yaml");
        std::fs::write(&path, PROXY).unwrap();
        std::fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        let loaded = config::load(&path).unwrap();
        let baseline = Baseline::new(path, &loaded);
        let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).unwrap();
        let policy = &loaded.settings.policy;
        let metrics = Metrics::new(&Foreseen {
            listeners: &[],
            callers: &[],
            policy,
            credentials: &[],
            projects: &[],
            upstreams: &[],
            skew: &clock::Skew::default(),
            sink: &sink,
        });
        let in_force = Arc::new(ArcSwap::from_pointee(InForce::new(loaded.settings, None)));
        Reloader::new(baseline, in_force, Arc::new(metrics))
    }

    #[test]
    fn a_change_that_nothing_announced_is_found_by_comparing_contents() {
        let folder = tempfile::tempdir().unwrap();
        let (reloader, policy) = (reloader(folder.path()), folder.path().join("policy.yaml"));
        assert_eq!(reloader.reload_if_changed(), None);
        std::fs::write(&policy, POLICY.replace("allow", "deny")).unwrap();
        let Some(Reloaded::Applied(hash)) = reloader.reload_if_changed() else { panic!("not applied") };
        assert_eq!(reloader.in_force.load().policy.hash(), &hash);
        assert_eq!(reloader.reload_if_changed(), None);
        std::fs::remove_file(&policy).unwrap();
        assert!(matches!(reloader.reload_if_changed(), Some(Reloaded::Refused(_))));
        assert_eq!(reloader.reload_if_changed(), None, "a failure is told once");
        std::fs::write(&policy, POLICY).unwrap();
        assert!(matches!(reloader.reload_if_changed(), Some(Reloaded::Applied(_))));
        assert_eq!(reloader.problem(), None);
    }
}
