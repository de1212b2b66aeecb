//! The context that the connections of a listener share.

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

/// The context that the connections of a listener share on one worker.
pub(super) struct ListenerContext {
    pub(super) name: Arc<str>,
    pub(super) bearer: bool,
    pub(super) tls: bool,
    /// Whether only this machine can reach the listener.
    pub(super) local: bool,
    pub(super) hosts: Arc<Hosts>,
    /// The runtime for TLS handshakes, which would delay calls on a worker.
    pub(super) handshakes: Handle,
    /// The worker's runtime.
    pub(super) runtime: Handle,
    pub(super) stack: Stack,
    /// The worker's number of connections.
    pub(super) load: Arc<AtomicUsize>,
    /// The policy in force.
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) limits: Limits,
    /// How long a connection may stay idle once the proxy stops.
    pub(super) idle_grace_end: Duration,
    /// Owns the connections.
    pub(super) tasks: TaskTracker,
    /// The limiter of all listeners.
    pub(super) limiter: Arc<ConnectionLimiter>,
}
