//! The context that providers are created with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{CachedCredential, health::KeyHealthRegistry};
use crate::{clock::Clocks, upstream::Egress};

/// The context that providers are created with.
#[derive(Clone)]
pub struct ProviderContext {
    /// The route to endpoints.
    pub(super) egress: Egress,
    /// The time for DNS, TCP and TLS together.
    pub(super) connect_timeout: Duration,
    /// The skew of the endpoints' clocks.
    pub(super) clocks: Clocks,
    /// The health of the access keys in use.
    pub(super) keys: KeyHealthRegistry,
    /// The credentials created so far, by name, with which agencies are assumed.
    pub(super) bases: HashMap<Arc<str>, Arc<CachedCredential>>,
}

impl ProviderContext {
    /// Creates a context. `connect_timeout` is for DNS, TCP and TLS together.
    pub fn new(egress: &Egress, connect_timeout: Duration, clocks: &Clocks) -> Self {
        let (egress, clocks, keys) = (egress.clone(), clocks.clone(), KeyHealthRegistry::default());
        Self { egress, connect_timeout, clocks, keys, bases: HashMap::new() }
    }
}
