//! Last check before a request is signed and sent: [`Attempt`](super::Attempt) → [`Cleared`].
//!
//! Between the decision and the first byte a call may wait: for a credential, for the key's turn, for a retry, for a
//! connection. Meanwhile an operator may have frozen it, another policy may be in force, or the time to finish may be
//! over. This is the one place that asks again, and nothing is signed that did not pass it. A caller's credentials are
//! not checked again: they were proven when the call came.

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

/// A request that may be sent now, and not later.
pub struct Cleared<'a>(&'a RequestTemplate);

/// What is asked before the first byte.
#[derive(Clone)]
pub struct Clearance {
    in_force: Arc<ArcSwap<ActivePolicy>>,
    authorize: Authorize,
    freeze: Freeze,
    cutoff: Cutoff,
}

impl Clearance {
    /// Asks what is in force, what is frozen, and whether there is still time.
    pub fn new(
        in_force: Arc<ArcSwap<ActivePolicy>>,
        authorize: Authorize,
        freeze: Freeze,
        cutoff: Cutoff,
    ) -> Self {
        Self { in_force, authorize, freeze, cutoff }
    }

    /// Lets a request through of which the first byte is about to be written.
    pub(super) fn clear<'a>(
        &self,
        template: &'a RequestTemplate,
        record: &mut Record,
    ) -> Result<Cleared<'a>, Refusal> {
        self.check(template, record)?;
        Ok(Cleared(template))
    }

    /// Whether a request may still be sent, so that nothing is waited for in vain.
    pub(super) fn check(&self, template: &RequestTemplate, record: &mut Record) -> Result<(), Refusal> {
        let decided = template.decided();
        if self.cutoff.is_over() {
            return Err(Refusal::Draining);
        }
        let writes = template.access() == Access::Write;
        // Where a write is frozen, nothing is looked up for it.
        if writes && self.freeze.is_frozen(decided.decision_context.identity.caller()) {
            return Err(Refusal::Frozen);
        }
        // The policy that is in force when its answer is here is asked then.
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
            // Each of its jobs is decided by its answer.
            Access::Read => self.authorize.judge_view(policy, &query, record).map(drop),
        }
    }
}

impl<'a> Cleared<'a> {
    pub(super) fn template(&self) -> &'a RequestTemplate {
        self.0
    }
}
