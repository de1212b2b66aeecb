//! Starts a proxy: binds its sockets, begins to fetch credentials, and spawns the tasks that accept.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Health, Inherited, Operators, ProxyStatus, Running,
    accept::Contexts,
    background,
    capacity::fit_limits,
    context::ListenerContext,
    freeze_watch::FreezeFileWatch,
    hostname::hostname,
    limiter::ConnectionLimiter,
    operators::FreezePersistence,
    outbound::{egress, projects, refreshers},
    socket::Socket,
    socket_watch::accept_until_stopped,
    worker::{Worker, Workers},
};
use crate::{
    audit::{OpenError, Sink},
    clock::{self, Clocks},
    config::{Drain, Hosts, Limits, Listener, Loaded},
    limit::{Cutoff, Freeze},
    metrics::{ExpectedSeries, Metrics},
    reload::{Baseline, Reloader, Targets},
    stack,
    stage::ActivePolicy,
    upstream::{DialerError, RootsError},
};

/// A proxy whose sockets are bound. It accepts after [`Proxy::serve`].
pub struct Proxy {
    sockets: Vec<(Socket, Arc<Hosts>)>,
    limiter: Arc<ConnectionLimiter>,
    workers: Workers,
    limits: Limits,
    drain: Drain,
    metrics: Arc<Metrics>,
    status: ProxyStatus,
    watcher: Option<FreezeFileWatch>,
    /// The renewal of credentials, which starts before anything is accepted.
    background: JoinSet<()>,
    cutoff: Cutoff,
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
    /// The audit sink cannot be opened.
    #[error(transparent)]
    Audit(#[from] OpenError),
    /// TLS to upstream cannot be set up.
    #[error(transparent)]
    Tls(#[from] RootsError),
    /// An upstream has no usable route.
    #[error(transparent)]
    Dialer(#[from] DialerError),
    /// The system gives no thread.
    #[error("too few threads available")]
    Thread(#[source] io::Error),
}

impl Proxy {
    /// Binds or inherits every socket, opens the audit sink and begins to fetch credentials. Those on this machine are ready
    /// when it returns. `path` is the file that the configuration was loaded from; it is watched for changes.
    ///
    /// A credential that is not available yet is no error: see [`Self::credentials`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(path: PathBuf, loaded: Loaded, inherited: Inherited) -> Result<Self, StartError> {
        let (baseline, persistence) = (Baseline::new(path, &loaded), FreezePersistence::of(&loaded));
        let mut settings = loaded.settings;
        let recorded_facts = settings.audit.facts;
        let sink = Sink::open(settings.audit.sink.clone(), settings.audit.when_blocked)?
            .write_ahead(settings.audit.write_ahead);
        let (egress, clocks) = (egress(&settings.upstream)?, Clocks::default());
        let refreshers = refreshers(&settings, &egress, &clocks)?;
        let credentials: Vec<_> = refreshers.iter().map(|refresher| Arc::clone(refresher.cached())).collect();
        let (projects, upstreams) = projects(&settings, &egress, &credentials, &clocks)?;
        let metrics = Arc::new(Metrics::new(&ExpectedSeries {
            listeners: &settings.listeners.iter().map(|l| Arc::clone(&l.name)).collect::<Vec<_>>(),
            callers: settings.callers.ids(),
            policy: &settings.policy,
            credentials: &credentials,
            projects: &settings.projects.iter().map(|p| Arc::clone(&p.name)).collect::<Vec<_>>(),
            upstreams: &upstreams,
            sink: &sink,
            clocks: &clocks,
        }));
        let health = Health::new(&settings.projects, &credentials, sink.clone());
        let mut background = background::start(refreshers, &settings, &metrics, &health).await;
        let sockets = bind(&settings.listeners, inherited)?;
        // Before anything is divided by these limits.
        settings.limits = fit_limits(&settings.limits, upstreams.len());
        let limits = settings.limits.clone();
        let limiter = limiter(&limits, &sockets, &metrics);
        let (drain, upstream, freeze_file) =
            (settings.drain.clone(), settings.upstream.clone(), settings.freeze_file.clone());
        let in_force = Arc::new(ArcSwap::from_pointee(ActivePolicy::new(settings, None)));
        let (freeze, cutoff) = (Freeze::default(), Cutoff::default());
        let watcher = freeze_watch(freeze_file, &freeze, &in_force).await?;
        let replaced =
            Targets { in_force: Arc::clone(&in_force), roots: egress.roots, metrics: Arc::clone(&metrics) };
        let reloader = Reloader::new(baseline, replaced, &mut background).await;
        let status = ProxyStatus {
            health,
            operators: Operators {
                freeze,
                reloader: Arc::new(reloader),
                in_force: Arc::clone(&in_force),
                sink: sink.clone(),
                persistence,
                turn: Arc::default(),
            },
            in_force,
            recent: Arc::default(),
            sink,
            recorded_facts,
            credentials,
            projects,
            cutoff: cutoff.clone(),
            upstreams,
            listeners: sockets.iter().map(|(socket, _)| socket.named()).collect(),
            since: clock::now(),
        };
        let parts = status.parts(&metrics);
        let workers = Workers::start(&limits, &upstream, &limiter, &parts).map_err(StartError::Thread)?;
        Ok(Self { sockets, limiter, workers, limits, drain, metrics, status, watcher, background, cutoff })
    }

    /// Returns the listeners' names and bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> &[(Arc<str>, String)] {
        &self.status.listeners
    }

    /// Returns its state, and what an operator may change about it.
    pub fn status(&self) -> &ProxyStatus {
        &self.status
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Waits up to `patience` for the credentials that projects need. Returns the missing ones, at once if a source has a
    /// lasting error.
    pub async fn credentials(&self, patience: Duration) -> Vec<Arc<str>> {
        self.status.health.credentials(patience).await
    }

    /// Starts to accept.
    pub fn serve(self) -> Running {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        for (socket, hosts) in self.sockets {
            let context = |worker: &Worker| ListenerContext {
                name: Arc::clone(&socket.name),
                bearer: socket.bearer,
                tls: socket.tls,
                local: socket.local,
                hosts: Arc::clone(&hosts),
                handshakes: self.workers.handshakes.runtime.clone(),
                runtime: worker.thread.runtime.clone(),
                stack: worker.stack.clone(),
                load: Arc::clone(&worker.load),
                in_force: Arc::clone(&self.status.in_force),
                limits: self.limits.clone(),
                idle_grace_end: SHUTDOWN_IDLE_GRACE.min(self.drain.timeout / 2),
                tasks: tasks.clone(),
                limiter: Arc::clone(&self.limiter),
            };
            let contexts = Contexts {
                tasks: tasks.clone(),
                limiter: Arc::clone(&self.limiter),
                of_workers: self.workers.of_calls.iter().map(context).map(Arc::new).collect(),
            };
            tasks.spawn(accept_until_stopped(
                socket,
                Arc::new(contexts),
                stop.clone(),
                self.status.health.clone(),
            ));
        }
        let mut background = self.background;
        background.spawn(background::age(self.status.upstreams.clone()));
        background.spawn(self.status.sink.clone().run_flusher());
        if let Some(watcher) = self.watcher {
            background.spawn(watcher.run());
        }
        self.status.health.started();
        let Self { drain, status, limiter, workers, cutoff, .. } = self;
        Running { drain, status, tasks, _background: background, stop, limiter, workers, cutoff }
    }
}

/// Starts to watch the freeze file. Its freeze is in force when this returns, because calls may already be waiting.
async fn freeze_watch(
    path: Option<PathBuf>,
    freeze: &Freeze,
    in_force: &Arc<ArcSwap<ActivePolicy>>,
) -> Result<Option<FreezeFileWatch>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let freeze_watch = FreezeFileWatch::start(path, freeze.clone(), Arc::clone(in_force));
    let mut freeze_watch = freeze_watch.map_err(StartError::Thread)?;
    freeze_watch.looked().await;
    Ok(Some(freeze_watch))
}

impl ProxyStatus {
    /// Returns the dependencies of the stages.
    fn parts(&self, metrics: &Arc<Metrics>) -> stack::Parts {
        stack::Parts {
            in_force: Arc::clone(&self.in_force),
            projects: self.projects.clone(),
            sink: self.sink.clone(),
            recorded_facts: self.recorded_facts,
            recent: Arc::clone(&self.recent),
            freeze: self.operators.freeze.clone(),
            metrics: Arc::clone(metrics),
            hostname: hostname().into(),
            cutoff: self.cutoff.clone(),
        }
    }
}

fn bind(listeners: &[Listener], mut inherited: Inherited) -> Result<Vec<(Socket, Arc<Hosts>)>, StartError> {
    let bind = |listener: &Listener| {
        let socket = Socket::bind(listener, &mut inherited).map_err(|source| StartError::Bind {
            name: Arc::clone(&listener.name),
            address: listener.bind.to_string(),
            source,
        })?;
        Ok((socket, Arc::new(listener.hosts.clone())))
    };
    let sockets = listeners.iter().map(bind).collect();
    for name in inherited.left() {
        tracing::warn!(name, "a passed socket has no listener: connections to it will hang");
    }
    sockets
}

/// Creates the limiter of connections.
fn limiter(limits: &Limits, sockets: &[(Socket, Arc<Hosts>)], metrics: &Metrics) -> Arc<ConnectionLimiter> {
    let counts = metrics.connections();
    for (socket, _) in sockets.iter().filter(|(socket, _)| socket.tls) {
        counts.preregister_tls(&socket.name);
    }
    ConnectionLimiter::new(limits, counts.clone())
}

/// How long a stopping proxy keeps an idle connection: a request may be on its way.
const SHUTDOWN_IDLE_GRACE: Duration = Duration::from_secs(1);
