//! Health and readiness, for the probes of an orchestrator.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use crate::{audit::Sink, config::Project, credential::CachedCredential};

/// The health of a proxy. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<HealthState>);

struct HealthState {
    started: AtomicBool,
    draining: AtomicBool,
    /// Each project's name and its credential.
    projects: Vec<(Arc<str>, Arc<CachedCredential>)>,
    /// The credentials whose latest renewal failed with a lasting error. Changes with each attempt.
    lasting: watch::Sender<HashSet<Arc<str>>>,
    /// The problems of sockets by address, and whether callers need the socket.
    sockets: Mutex<BTreeMap<Arc<str>, (bool, String)>>,
    sink: Sink,
}

/// One thing that must hold for a proxy to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Why the check fails, if it does.
    pub problem: Option<Cow<'static, str>>,
}

impl Health {
    pub(super) fn new(projects: &[Arc<Project>], credentials: &[Arc<CachedCredential>], sink: Sink) -> Self {
        let cached = |project: &Project| {
            credentials.iter().find(|cached| *cached.name() == project.credential).cloned()
        };
        let projects = projects.iter().filter_map(|p| Some((Arc::clone(&p.name), cached(p)?))).collect();
        let (started, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(HealthState {
            started,
            draining,
            projects,
            lasting: watch::Sender::default(),
            sockets: Mutex::default(),
            sink,
        }))
    }

    /// Whether it has begun to accept.
    pub fn is_started(&self) -> bool {
        self.0.started.load(Relaxed)
    }

    /// Returns the readiness checks. That the configuration is loaded needs none: without it there is no proxy.
    pub fn checks(&self) -> Vec<Check> {
        let check = |name: &str, holds: bool, problem: &'static str| Check {
            name: name.into(),
            problem: (!holds).then_some(Cow::Borrowed(problem)),
        };
        let mut checks = vec![
            check("config", true, ""),
            check("started", self.is_started(), "not accepting yet"),
            check("not-draining", !self.is_draining(), "draining"),
            check("audit", !self.0.sink.refuses(), "the sink is blocked: every call is refused"),
        ];
        for (project, cached) in &self.0.projects {
            let name = format!("credential {} of project {project}", cached.name());
            let problem = cached.state().unusable();
            checks.push(check(&name, problem.is_none(), problem.unwrap_or_default()));
        }
        let lost = self.lost_sockets(true).into_iter();
        checks.extend(lost.map(|(name, problem)| Check { name, problem: Some(problem.into()) }));
        checks
    }

    /// Returns the sockets that cannot be reached, with the reason: those of callers, or those of operators.
    pub fn lost_sockets(&self, of_callers: bool) -> Vec<(String, String)> {
        let sockets = self.0.sockets.lock();
        let lost = sockets.iter().filter(|(_, (callers, _))| *callers == of_callers);
        lost.map(|(address, (_, problem))| (address.to_string(), problem.clone())).collect()
    }

    /// Notes the state of a socket. Returns whether it changed.
    pub(super) fn socket(&self, address: &Arc<str>, of_callers: bool, problem: Option<String>) -> bool {
        let mut sockets = self.0.sockets.lock();
        match problem {
            None => sockets.remove(address).is_some(),
            Some(problem) => {
                let fresh = (of_callers, problem);
                sockets.insert(Arc::clone(address), fresh.clone()).as_ref() != Some(&fresh)
            }
        }
    }

    /// Whether all checks pass.
    pub fn is_ready(&self) -> bool {
        self.checks().iter().all(|check| check.problem.is_none())
    }

    /// Notes an attempt at renewal, and whether it failed with a lasting error.
    pub(super) fn attempted(&self, credential: &Arc<str>, lasting: bool) {
        self.0.lasting.send_modify(|credentials| {
            if lasting {
                credentials.insert(Arc::clone(credential));
            } else {
                credentials.remove(credential);
            }
        });
    }

    /// Waits up to `patience` for the credentials that projects need, except those with a lasting error. Returns the missing
    /// ones.
    pub(super) async fn credentials(&self, patience: Duration) -> Vec<Arc<str>> {
        let mut attempts = self.0.lasting.subscribe();
        let decided = attempts.wait_for(|lasting| {
            let missing = self.missing_credentials();
            missing.is_empty() || missing.iter().any(|credential| lasting.contains(credential))
        });
        drop(timeout(patience, decided).await);
        self.missing_credentials()
    }

    /// Returns the credentials that projects need and that cannot be used.
    fn missing_credentials(&self) -> Vec<Arc<str>> {
        let missing = self.0.projects.iter().filter(|(_, cached)| !cached.is_ready());
        missing.map(|(_, cached)| Arc::clone(cached.name())).collect()
    }

    /// Whether the proxy is stopping.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }

    pub(super) fn started(&self) {
        self.0.started.store(true, Relaxed);
    }

    pub(super) fn draining(&self) {
        self.0.draining.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{
        audit::{Target, WhenBlocked},
        clock::Clocks,
        config,
        credential::{ProviderContext, Refresher, Round},
        upstream::{Egress, Proxies, Roots},
    };

    /// The health of a proxy that needs one credential, not fetched yet.
    fn missing_one() -> (Health, Refresher, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("proxy.yaml", PROXY), ("policy.yaml", POLICY), ("token", "a-token")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let settings = config::load(&folder.path().join("proxy.yaml")).unwrap().settings;
        let egress = Egress { roots: Roots::new(None).unwrap(), proxies: Proxies::new(None, |_| None) };
        let clocks = Clocks::default();
        let provider_context = ProviderContext::new(&egress, settings.upstream.connect_timeout, &clocks);
        let sources = settings.credentials.iter().map(|credential| (&credential.name, &credential.source));
        let refresher = Refresher::all(sources, provider_context).unwrap().remove(0);
        let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).unwrap();
        let health = Health::new(&settings.projects, std::slice::from_ref(refresher.cached()), sink);
        (health, refresher, folder)
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_does_not_come_is_waited_for_to_the_end_and_no_longer() {
        let (health, _renewal, _folder) = missing_one();
        let name: Arc<str> = "prod".into();
        let fails_again_and_again = async {
            loop {
                sleep(Duration::from_secs(3)).await;
                health.attempted(&name, false);
            }
        };
        let started = Instant::now();
        let missing = tokio::select! {
            missing = health.credentials(STARTUP_TIMEOUT) => missing,
            () = fails_again_and_again => Vec::new(),
        };
        assert_eq!((missing, started.elapsed()), (vec![Arc::clone(&name)], STARTUP_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_its_source_says_for_good_is_waited_for_no_longer() {
        let (health, _renewal, _folder) = missing_one();
        let name: Arc<str> = "prod".into();
        let started = Instant::now();
        let refused = async {
            sleep(Duration::from_secs(10)).await;
            health.attempted(&name, true);
        };
        let (missing, ()) = tokio::join!(health.credentials(STARTUP_TIMEOUT), refused);
        assert_eq!((missing, started.elapsed()), (vec![Arc::clone(&name)], Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_comes_late_is_there_at_once() {
        let (health, mut refresher, _folder) = missing_one();
        let started = Instant::now();
        let late = async {
            sleep(STARTUP_TIMEOUT - Duration::from_secs(10)).await;
            assert!(matches!(refresher.round().await, Round::Changed));
            health.attempted(&"prod".into(), false);
        };
        let (missing, ()) = tokio::join!(health.credentials(STARTUP_TIMEOUT), late);
        assert!(
            missing.is_empty() && started.elapsed() < STARTUP_TIMEOUT,
            "{missing:?} {:?}",
            started.elapsed()
        );
    }

    const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
    const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [ { name: app, bind: 127.0.0.1:0 } ]
projects: [ { name: p, id: p, endpoint: 'http://127.0.0.1:1', credential: prod } ]
credentials: { prod: { token_file: { path: token } } }
";
    const POLICY: &str = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules: [ { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] } ]
";
}
