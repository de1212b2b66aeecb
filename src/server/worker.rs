//! A thread that serves connections, with a runtime of its own: nothing of a request crosses to another thread.
//!
//! There is one for each core that the process may use. Each has its own stack and its own pools of connections to
//! upstream; what all of them share is read, counted, or held for a moment only. The process's first thread accepts,
//! answers probes and operators, reloads and renews.

use std::{
    io,
    sync::{Arc, atomic::AtomicUsize, mpsc},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, oneshot},
};

use super::background::sweep;
use crate::{
    config::{Limits, UpstreamSettings},
    stack::{self, Parts, Stack},
    stage::Project,
    upstream::{MAX_IDLE, Upstream},
};

/// A thread of connections. Dropped, it ends, and drops what it serves.
pub(super) struct Worker {
    /// Where its tasks run.
    pub(super) runtime: Handle,
    pub(super) stack: Stack,
    /// How many connections it has.
    pub(super) load: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

/// Starts as many as there are cores for this process, by its affinity and its cgroup's quota.
///
/// # Errors
/// Where the system gives no thread.
pub(super) fn start_all(
    limits: &Limits,
    settings: &UpstreamSettings,
    upstreams: &[Arc<Upstream>],
    parts: &Parts,
) -> io::Result<Vec<Worker>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let in_flight = Arc::new(Semaphore::new(limits.in_flight));
    let worker = |number| {
        // All together keep no more idle connections than one would.
        let own = |upstream: &Arc<Upstream>| Arc::new(upstream.with_own_pool(MAX_IDLE.div_ceil(cores)));
        let upstreams: Vec<_> = upstreams.iter().map(own).collect();
        let parts = Parts { projects: by_way_of(&upstreams, &parts.projects), ..parts.clone() };
        Worker::start(number, stack::build(limits, settings, Arc::clone(&in_flight), parts), upstreams)
    };
    (0..cores).map(worker).collect()
}

/// The same projects, called by these connections.
fn by_way_of(upstreams: &[Arc<Upstream>], projects: &[Arc<Project>]) -> Vec<Arc<Project>> {
    let own = |project: &Arc<Project>| {
        let upstream = upstreams.iter().find(|upstream| upstream.name() == project.upstream().name())?;
        Some(Arc::new(project.by_way_of(Arc::clone(upstream))))
    };
    projects.iter().filter_map(own).collect()
}

impl Worker {
    fn start(number: usize, stack: Stack, upstreams: Vec<Arc<Upstream>>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (built, runtime) = mpsc::sync_channel(1);
        // Made and dropped by its own thread: where there is none, there is nothing to drop.
        let serve = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(Err(error))),
            };
            drop(built.send(Ok(runtime.handle().clone())));
            runtime.block_on(async {
                tokio::select! {
                    // It is dropped, not sent.
                    _ = stopped => {}
                    () = sweep(upstreams) => {}
                }
            });
            // Drops what it serves. A name that is being resolved is not waited for.
            runtime.shutdown_background();
        };
        drop(thread::Builder::new().name(format!("worker-{number}")).spawn(serve)?);
        let runtime = runtime.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, stack, load: Arc::default(), _stop: stop })
    }
}
