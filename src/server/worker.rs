//! Worker threads that serve connections, each with its own runtime: a request never crosses threads.
//!
//! There is one for each core that the process may use. Each has its own stack and its own upstream pools; shared data is
//! read, counted, or held only briefly. TLS handshakes have a thread of their own, because verifying a certificate takes
//! long. The first thread accepts, answers probes and operators, reloads and renews.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::AtomicUsize, mpsc},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, oneshot},
};

use super::{background::sweep, limiter::ConnectionLimiter};
use crate::{
    config::{Limits, UpstreamSettings},
    stack::{self, Capacity, Parts, Stack},
    stage::Project,
    upstream::{MAX_IDLE, Upstream},
};

/// The worker threads of a process.
pub(super) struct Workers {
    pub(super) of_calls: Vec<Worker>,
    pub(super) handshakes: RuntimeThread,
}

/// A thread that serves connections.
pub(super) struct Worker {
    pub(super) thread: RuntimeThread,
    pub(super) stack: Stack,
    /// Its number of connections.
    pub(super) load: Arc<AtomicUsize>,
}

/// A thread with its own runtime. Dropping it ends the thread and drops the connections it serves.
pub(super) struct RuntimeThread {
    /// Where its tasks run.
    pub(super) runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl Workers {
    /// Starts a worker for each core that affinity and the cgroup's quota allow.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        limits: &Limits,
        upstream: &UpstreamSettings,
        limiter: &Arc<ConnectionLimiter>,
        parts: &Parts,
    ) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        let capacity = Capacity { in_flight, room: limiter.room().clone() };
        let worker = |number| {
            // All workers together keep no more idle connections than one would.
            let (projects, upstreams) = with_own_pools(&parts.projects, MAX_IDLE.div_ceil(cores));
            let stack = stack::build(limits, upstream, capacity.clone(), Parts { projects, ..parts.clone() });
            let thread = RuntimeThread::start(format!("worker-{number}"), sweep(upstreams))?;
            Ok(Worker { thread, stack, load: Arc::default() })
        };
        let of_calls = (0..cores).map(worker).collect::<io::Result<_>>()?;
        let make_room = Arc::clone(limiter).make_room_for_bytes();
        Ok(Self { of_calls, handshakes: RuntimeThread::start("handshakes".into(), make_room)? })
    }
}

impl Workers {
    /// Returns when each thread has run a task, so none is stuck.
    pub(super) async fn turn(&self) {
        let threads = self.of_calls.iter().map(|worker| &worker.thread).chain([&self.handshakes]);
        let tasks: Vec<_> = threads.map(|thread| thread.runtime.spawn(async {})).collect();
        for task in tasks {
            if task.await.is_err() {
                // It no longer serves anybody.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Returns the same projects with upstream pools of their own, and these upstreams without duplicates.
fn with_own_pools(projects: &[Arc<Project>], most_idle: usize) -> (Vec<Arc<Project>>, Vec<Arc<Upstream>>) {
    let mut upstreams: HashMap<&str, Arc<Upstream>> = HashMap::new();
    let own = projects.iter().map(|project| {
        let shared = project.upstream();
        let own = upstreams.entry(shared.name()).or_insert_with(|| Arc::new(shared.with_own_pool(most_idle)));
        Arc::new(project.by_way_of(Arc::clone(own)))
    });
    let own = own.collect();
    (own, upstreams.into_values().collect())
}

impl RuntimeThread {
    /// Starts a thread that runs `meanwhile` beside its tasks until it is stopped.
    ///
    /// # Errors
    /// If the system gives no thread.
    fn start(name: String, meanwhile: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (built, runtime) = mpsc::sync_channel(1);
        // Created and dropped by its own thread, so that without a thread there is nothing to drop.
        let serve = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(Err(error))),
            };
            drop(built.send(Ok(runtime.handle().clone())));
            // In a task, so that a panic in it would not end the thread.
            drop(runtime.spawn(meanwhile));
            // The sender is dropped, which ends this.
            drop(runtime.block_on(stopped));
            // Drops its connections without waiting for name resolution.
            runtime.shutdown_background();
        };
        drop(thread::Builder::new().name(name).spawn(serve)?);
        Ok(Self { runtime: runtime.recv().map_err(io::Error::other)??, _stop: stop })
    }
}
