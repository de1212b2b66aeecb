//! The last check before a request is signed and sent: [`Attempt`](super::Attempt) → [`Cleared`].
//!
//! Between the decision and the first byte a call may wait for a credential, a permit of its key, a retry or a connection.
//! Meanwhile an operator may freeze the caller, another policy may take effect, or the drain time-out may end. Only this
//! place checks again, and only requests that pass it are signed. The caller's credentials are not checked again: they were
//! valid when the call arrived.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    ActivePolicy, Authorize, Refusal,
    compose::{Purpose, RequestTemplate},
};
use crate::{
    audit::Record,
    limit::{Cutoff, Freeze},
    operation::Access,
};

/// A request that may be sent right now.
pub struct Cleared<'a>(&'a RequestTemplate);

/// The checks before the first byte.
#[derive(Clone)]
pub struct Clearance {
    in_force: Arc<ArcSwap<ActivePolicy>>,
    authorize: Authorize,
    freeze: Freeze,
    cutoff: Cutoff,
}

impl Clearance {
    /// Checks the policy in force, the freeze and the drain time-out.
    pub fn new(
        in_force: Arc<ArcSwap<ActivePolicy>>,
        authorize: Authorize,
        freeze: Freeze,
        cutoff: Cutoff,
    ) -> Self {
        Self { in_force, authorize, freeze, cutoff }
    }

    /// Clears a request whose first byte is about to be written.
    pub(super) fn clear<'a>(
        &self,
        template: &'a RequestTemplate,
        record: &mut Record,
    ) -> Result<Cleared<'a>, Refusal> {
        self.check(template, record)?;
        Ok(Cleared(template))
    }

    /// Checks whether a request may still be sent, before it waits for anything.
    pub(super) fn check(&self, template: &RequestTemplate, record: &mut Record) -> Result<(), Refusal> {
        let decided = template.decided();
        if self.cutoff.is_over() {
            return Err(Refusal::Draining);
        }
        let writes = template.access() == Access::Write;
        // A frozen write is not looked up either.
        if writes && self.freeze.is_frozen(decided.decision_context.identity.caller()) {
            return Err(Refusal::Frozen);
        }
        // A lookup is decided by the policy that is in force when its answer arrives.
        if template.purpose() == Purpose::Lookup {
            return Ok(());
        }
        let in_force = self.in_force.load();
        if Arc::ptr_eq(&in_force, &decided.decision_context.in_force) {
            return Ok(());
        }
        let (policy, query) = (&in_force.policy, template.query());
        match template.access() {
            Access::Write => self.authorize.conclude(policy, &query, record).map(drop),
            // The answer decides about each of its jobs.
            Access::Read => self.authorize.judge_view(policy, &query, record).map(drop),
        }
    }
}

impl<'a> Cleared<'a> {
    pub(super) fn template(&self) -> &'a RequestTemplate {
        self.0
    }
}
