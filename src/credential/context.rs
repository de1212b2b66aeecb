//! What providers are made with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{CachedCredential, health::KeyHealthRegistry};
use crate::{clock::Clocks, upstream::Egress};

/// What providers are made with.
#[derive(Clone)]
pub struct ProviderContext {
    /// Which way leads to endpoints.
    pub(super) egress: Egress,
    /// For DNS, TCP and TLS together.
    pub(super) connect_timeout: Duration,
    /// What is known of the endpoints' clocks.
    pub(super) clocks: Clocks,
    /// The health of the access keys in use.
    pub(super) keys: KeyHealthRegistry,
    /// The credentials that agencies are assumed with, by name, as far as they are made.
    pub(super) bases: HashMap<Arc<str>, Arc<CachedCredential>>,
}

impl ProviderContext {
    /// This way to endpoints, and as much time to connect, for DNS, TCP and TLS together; by these
    /// clocks.
    pub fn new(egress: &Egress, connect_timeout: Duration, clocks: &Clocks) -> Self {
        let (egress, clocks, keys) = (egress.clone(), clocks.clone(), KeyHealthRegistry::default());
        Self { egress, connect_timeout, clocks, keys, bases: HashMap::new() }
    }
}
