//! Who is calling? [`Received`] → [`Identified`].
//!
//! It stands right behind `receive`: whoever cannot prove who they are learns nothing else. From here on the
//! caller's headers are gone. The policy in force is taken once, here, and decides the whole request.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use http::Method;

use super::{Exchange, Received, Refusal, Stage};
use crate::{
    config::ListenerTls,
    identity::{Callers, Identity, Peer, Presented},
    limit::Limiter,
    log::LIMITED,
    policy::Policy,
};

/// What one reading of the files put in force, all of it together.
pub struct InForce {
    /// Who is who.
    pub callers: Callers,
    /// Who may do what.
    pub policy: Policy,
    /// How much of it.
    pub limiter: Limiter,
    /// How many calls the process takes on at once, by which callers' shares are measured.
    pub in_flight: usize,
    /// The TLS of the listeners that have one: the server's, handed along so that it changes with the policy.
    pub tls: HashMap<Arc<str>, ListenerTls>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A request whose caller is proven.
pub struct Identified<'r> {
    method: Method,
    target: String,
    decider: Decider,
    exchange: Exchange<'r>,
}

/// A proven caller, and the policy to decide by.
#[derive(Clone)]
pub(super) struct Decider {
    pub(super) identity: Identity,
    pub(super) in_force: Arc<InForce>,
}

/// Proves callers.
#[derive(Clone)]
pub struct Authenticate {
    in_force: Arc<ArcSwap<InForce>>,
}

impl Authenticate {
    /// Proves callers by the policy that is in force when a request comes in.
    pub fn new(in_force: Arc<ArcSwap<InForce>>) -> Self {
        Self { in_force }
    }
}

impl<'r> Identified<'r> {
    pub(super) fn into_parts(self) -> (Method, String, Decider, Exchange<'r>) {
        (self.method, self.target, self.decider, self.exchange)
    }
}

impl<'r> Stage<Received<'r>> for Authenticate {
    type After = Identified<'r>;

    fn check(&self, request: Received<'r>) -> Result<Identified<'r>, Refusal> {
        let in_force = self.in_force.load_full();
        let (method, target, headers, exchange) = request.into_parts();
        let presented = Presented {
            peer: &exchange.peer,
            method: method.as_str(),
            target: &target,
            headers: &headers,
            // No operation that is served has one.
            body: None,
            // One moment for the whole decision.
            now: exchange.record.opened(),
        };
        let identified = in_force.callers.identify(&presented);
        let identity = identified.inspect_err(|error| {
            let shown = presented.in_words();
            let Peer { listener, address, .. } = &*exchange.peer;
            tracing::info!(target: LIMITED, %listener, %address, shown, %error, "a caller is not recognised");
            exchange.record.presented = shown;
        })?;
        exchange.record.caller = Some(identity.caller().shared());
        exchange.record.identified_by = Some(identity.proof().as_str());
        Ok(Identified { method, target, decider: Decider { identity, in_force }, exchange })
    }
}
