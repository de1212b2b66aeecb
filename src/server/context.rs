//! What the connections of a listener share.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::limiter::ConnectionLimiter;
use crate::{
    config::{Hosts, Limits},
    stack::Stack,
    stage::ActivePolicy,
};

/// What the connections of a listener share on one worker.
pub(super) struct ListenerContext {
    pub(super) name: Arc<str>,
    pub(super) bearer: bool,
    pub(super) tls: bool,
    /// Only this machine can reach it.
    pub(super) local: bool,
    pub(super) hosts: Arc<Hosts>,
    /// Where handshakes are made: they are long, and hold up no call.
    pub(super) handshakes: Handle,
    /// The worker's.
    pub(super) runtime: Handle,
    pub(super) stack: Stack,
    /// How many connections the worker has.
    pub(super) load: Arc<AtomicUsize>,
    /// What a connection is met with, as of when it is made.
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) limits: Limits,
    /// How long a connection may be without a request once the proxy stops.
    pub(super) idle_grace_end: Duration,
    /// Owns the connections.
    pub(super) tasks: TaskTracker,
    /// Of all listeners.
    pub(super) limiter: Arc<ConnectionLimiter>,
}
