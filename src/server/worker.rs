//! The threads that serve connections, each with a runtime of its own: nothing of a request crosses to another thread.
//!
//! There is one for each core that the process may use. Each has its own stack and its own pools of connections to
//! upstream; what all of them share is read, counted, or held for a moment only. TLS handshakes have a thread to
//! themselves, because verifying a certificate is long. The process's first thread accepts, answers probes and operators,
//! reloads and renews.

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

/// The threads of a process that callers are served by.
pub(super) struct Workers {
    pub(super) of_calls: Vec<Worker>,
    pub(super) handshakes: RuntimeThread,
}

/// A thread of connections.
pub(super) struct Worker {
    pub(super) thread: RuntimeThread,
    pub(super) stack: Stack,
    /// How many connections it has.
    pub(super) load: Arc<AtomicUsize>,
}

/// A thread with a runtime of its own. Dropped, it ends, and drops what it serves.
pub(super) struct RuntimeThread {
    /// Where its tasks run.
    pub(super) runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl Workers {
    /// Starts as many as there are cores for this process, by its affinity and its cgroup's quota.
    ///
    /// # Errors
    /// Where the system gives no thread.
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
            // All together keep no more idle connections than one would.
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
    /// Returns when each thread has run a task: none of them is stuck.
    pub(super) async fn turn(&self) {
        let threads = self.of_calls.iter().map(|worker| &worker.thread).chain([&self.handshakes]);
        let tasks: Vec<_> = threads.map(|thread| thread.runtime.spawn(async {})).collect();
        for task in tasks {
            if task.await.is_err() {
                // It serves nobody any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The same projects, called by connections of their own; and their upstreams, each once.
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
    /// Starts a thread that does this until it is stopped, besides its tasks.
    ///
    /// # Errors
    /// Where the system gives no thread.
    fn start(name: String, meanwhile: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (built, runtime) = mpsc::sync_channel(1);
        // Made and dropped by its own thread: where there is none, there is nothing to drop.
        let serve = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(Err(error))),
            };
            drop(built.send(Ok(runtime.handle().clone())));
            // A task like the others: were there ever a panic in it, the thread goes on.
            drop(runtime.spawn(meanwhile));
            // It is dropped, not sent.
            drop(runtime.block_on(stopped));
            // Drops what it serves. A name that is being resolved is not waited for.
            runtime.shutdown_background();
        };
        drop(thread::Builder::new().name(name).spawn(serve)?);
        Ok(Self { runtime: runtime.recv().map_err(io::Error::other)??, _stop: stop })
    }
}
