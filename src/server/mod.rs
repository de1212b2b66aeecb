//! Who may connect, and how does it start and stop?
//!
//! A [`Proxy`] is everything that `proxy.yaml` describes, running: sockets, stack, credentials. It owns all tasks
//! it starts, and all of them end with it. It prints nothing and knows no signals: those are the command's.

mod connection;
mod health;
mod listener;
mod owner;
mod tls;
mod wire;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use health::{Check, Health};

use crate::{
    audit::{OpenError, Sink},
    config::{Drain, Hosts, Limits, Loaded, Settings},
    credential::{Held, ProvideError},
    metrics::{Foreseen, Metrics},
    reload::{Baseline, Reloaded, Reloader},
    stack::{self, Stack},
    stage::{InForce, Project},
    upstream::{Endpoint, Roots, RootsError, Timeouts, Upstream},
};
use connection::Serving;
use listener::Socket;

/// A proxy whose sockets are bound. It accepts once it is told to [`Proxy::serve`].
pub struct Proxy {
    sockets: Vec<(Socket, Arc<Hosts>)>,
    stack: Stack,
    in_force: Arc<ArcSwap<InForce>>,
    limits: Limits,
    drain: Drain,
    sink: Sink,
    metrics: Arc<Metrics>,
    health: Health,
    credentials: Vec<Arc<Held>>,
    upstreams: Vec<Arc<Upstream>>,
    reloader: Arc<Reloader>,
}

/// A proxy that serves.
pub struct Running {
    drain: Drain,
    sink: Sink,
    health: Health,
    reloader: Arc<Reloader>,
    /// Connections, requests and accept loops.
    tasks: TaskTracker,
    /// Renewal and sweeping: ended by being dropped.
    background: JoinSet<()>,
    stop: CancellationToken,
    finish: CancellationToken,
}

/// How a proxy stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was accepted was answered.
    Whole,
    /// Some of it was cut off when the drain time-out ended.
    Cut,
}

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("listener `{name}` cannot listen on {address}")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// Its address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The audit records have nowhere to go.
    #[error(transparent)]
    Audit(#[from] OpenError),
    /// TLS to upstream cannot be set up.
    #[error(transparent)]
    Tls(#[from] RootsError),
}

impl Proxy {
    /// Binds every socket, opens the audit sink and reads every credential once. The configuration was loaded from
    /// `path`, which is where changes of it are looked for.
    ///
    /// A credential that cannot be read yet is no error: see [`Health::missing_credentials`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(path: PathBuf, loaded: Loaded) -> Result<Self, StartError> {
        let baseline = Baseline::new(path, &loaded);
        let settings = loaded.settings;
        let sink = Sink::open(settings.audit.sink.clone(), settings.audit.when_blocked)?;
        let metrics = Arc::new(Metrics::new(&Foreseen {
            listeners: &settings.listeners.iter().map(|l| Arc::clone(&l.name)).collect::<Vec<_>>(),
            callers: settings.callers.ids(),
            policy: &settings.policy,
            credentials: &settings.credentials.iter().map(|c| Arc::clone(&c.name)).collect::<Vec<_>>(),
            projects: &settings.projects.iter().map(|p| Arc::clone(&p.name)).collect::<Vec<_>>(),
            sink: &sink,
        }));
        let credentials: Vec<Arc<Held>> = settings
            .credentials
            .iter()
            .map(|c| Arc::new(Held::new(Arc::clone(&c.name), c.source.provider())))
            .collect();
        for held in &credentials {
            if let Err(error) = refresh(held, &metrics).await {
                let error = report(&error);
                tracing::warn!(credential = %held.name(), error, "a credential cannot be read yet: its calls are refused");
            }
        }
        let (projects, upstreams) = projects(&settings, &credentials)?;
        let mut sockets = Vec::new();
        for listener in &settings.listeners {
            let socket = Socket::bind(listener).map_err(|source| StartError::Bind {
                name: Arc::clone(&listener.name),
                address: listener.bind.to_string(),
                source,
            })?;
            sockets.push((socket, Arc::new(listener.hosts.clone())));
        }
        let health = Health::new(&settings.projects, &credentials);
        let (limits, drain, upstream) =
            (settings.limits.clone(), settings.drain.clone(), settings.upstream.clone());
        let in_force = Arc::new(ArcSwap::from_pointee(InForce::new(settings, None)));
        let reloader = Arc::new(Reloader::new(baseline, Arc::clone(&in_force), Arc::clone(&metrics)));
        let parts = stack::Parts {
            in_force: Arc::clone(&in_force),
            projects,
            sink: sink.clone(),
            metrics: Arc::clone(&metrics),
            hostname: hostname(),
        };
        let stack = stack::build(&limits, &upstream, parts);
        Ok(Self {
            sockets,
            stack,
            in_force,
            limits,
            drain,
            sink,
            metrics,
            health,
            credentials,
            upstreams,
            reloader,
        })
    }

    /// What is bound: the listeners' names and their addresses, the ports as the system chose them.
    pub fn addresses(&self) -> Vec<(Arc<str>, String)> {
        self.sockets.iter().map(|(socket, _)| (Arc::clone(socket.name()), socket.address())).collect()
    }

    /// Its state, for probes.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Starts to accept.
    pub fn serve(self) -> Running {
        let (tasks, stop, finish) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        for (socket, hosts) in self.sockets {
            let serving = Arc::new(Serving {
                stack: self.stack.clone(),
                in_force: Arc::clone(&self.in_force),
                hosts,
                limits: self.limits.clone(),
                tasks: tasks.clone(),
                drain: finish.clone(),
            });
            tasks.spawn(socket.accept(serving, Arc::clone(&connections), stop.clone()));
        }
        let mut background = JoinSet::new();
        for held in self.credentials {
            background.spawn(renew(held, Arc::clone(&self.metrics)));
        }
        background.spawn(sweep(self.upstreams));
        background.spawn(Arc::clone(&self.reloader).watch());
        self.health.started();
        let Self { drain, sink, health, reloader, .. } = self;
        Running { drain, sink, health, reloader, tasks, background, stop, finish }
    }
}

impl Running {
    /// Its state, for probes.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Opens the audit file anew, after a log rotation moved it away.
    ///
    /// # Errors
    /// Where it cannot be opened; the one that is open stays in use.
    pub fn reopen_audit(&self) -> Result<(), OpenError> {
        self.sink.reopen()
    }

    /// Reads the configuration again, and puts its policy in force if that is possible.
    pub fn reload(&self) -> Reloaded {
        self.reloader.reload()
    }

    /// Stops: not ready, then a delay for load balancers to notice, then no new connections, then what is under
    /// way is finished, within the drain time-out.
    pub async fn drain(self) -> Drained {
        self.health.draining();
        sleep(self.drain.delay).await;
        self.stop.cancel();
        self.finish.cancel();
        self.tasks.close();
        let finished = timeout(self.drain.timeout, self.tasks.wait()).await;
        drop(self.background);
        self.sink.flush();
        if finished.is_ok() { Drained::Whole } else { Drained::Cut }
    }
}

/// Each configured project with its credential and its upstream. Projects of one endpoint share its connections.
#[expect(clippy::type_complexity, reason = "two lists, named where they are used")]
fn projects(
    settings: &Settings,
    credentials: &[Arc<Held>],
) -> Result<(Vec<Arc<Project>>, Vec<Arc<Upstream>>), StartError> {
    let roots = Roots::new(settings.upstream.ca_file.as_deref())?;
    let timeouts =
        Timeouts { connect: settings.upstream.connect_timeout, attempt: settings.upstream.attempt_timeout };
    let mut upstreams: HashMap<&Endpoint, Arc<Upstream>> = HashMap::new();
    let mut projects = Vec::new();
    for project in &settings.projects {
        if !upstreams.contains_key(&project.endpoint) {
            let upstream = Upstream::new(&project.endpoint, &roots, timeouts)?;
            upstreams.insert(&project.endpoint, Arc::new(upstream));
        }
        let held = credentials.iter().find(|held| *held.name() == project.credential);
        let (Some(upstream), Some(held)) = (upstreams.get(&project.endpoint), held) else { continue };
        projects
            .extend(Project::new(Arc::clone(project), Arc::clone(held), Arc::clone(upstream)).map(Arc::new));
    }
    Ok((projects, upstreams.into_values().collect()))
}

async fn refresh(held: &Held, metrics: &Metrics) -> Result<bool, ProvideError> {
    let result = held.refresh().await;
    metrics.refreshed(held.name(), result.is_ok());
    result
}

/// Reads a credential's source again and again. A failure keeps the last good value, and is logged when it starts.
async fn renew(held: Arc<Held>, metrics: Arc<Metrics>) {
    let mut failing = held.current().is_none();
    let mut ticks = interval(RENEWAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match refresh(&held, &metrics).await {
            Ok(changed) => {
                if changed || failing {
                    tracing::info!(credential = %held.name(), "a credential was read");
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    let error = report(&error);
                    tracing::warn!(credential = %held.name(), error, "a credential cannot be read: the last one stays");
                }
                failing = true;
            }
        }
    }
}

async fn sweep(upstreams: Vec<Arc<Upstream>>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        for upstream in &upstreams {
            upstream.sweep();
        }
    }
}

/// An error with its causes, on one line.
fn report(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out.push_str(": ");
        out.push_str(&error.to_string());
        cause = error.source();
    }
    out
}

/// As much of the host's name as fits the alphabet of request ids.
fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(63).collect();
    if clean.is_empty() { "localhost".into() } else { clean }
}

/// How often a credential's source is read again: a mounted Secret changes without notice.
const RENEWAL: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_secs(5);
