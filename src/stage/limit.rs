//! May they now? [`Permitted`] → [`Admitted`].
//!
//! It stands behind `authorize`, so that nobody uses up a quota with calls they may not make, and is the last
//! stage that can refuse a call for the caller's own good or the others'.

use std::sync::Arc;

use super::{Exchange, Permitted, Project, Refusal, Stage, authenticate::Decider};
use crate::{
    limit::{Admission, Freeze},
    metrics::Metrics,
    operation::Target,
};

/// A request that may be carried out now.
pub struct Admitted<'r> {
    decided: Decided,
    project: Arc<Project>,
    exchange: Exchange<'r>,
}

/// What was decided: for whom, by what, and within which limits.
pub(super) struct Decided {
    pub(super) target: Target,
    pub(super) decider: Decider,
    _admission: Admission,
}

/// Holds callers and projects to their limits.
#[derive(Clone)]
pub struct Limit {
    freeze: Freeze,
    metrics: Arc<Metrics>,
}

impl Limit {
    /// Applies the limits of the policy that `authenticate` took, and counts whom they hit; lets nobody through
    /// who is frozen.
    pub fn new(freeze: Freeze, metrics: Arc<Metrics>) -> Self {
        Self { freeze, metrics }
    }
}

impl<'r> Admitted<'r> {
    pub(super) fn into_parts(self) -> (Decided, Arc<Project>, Exchange<'r>) {
        (self.decided, self.project, self.exchange)
    }
}

impl<'r> Stage<Permitted<'r>> for Limit {
    type After = Admitted<'r>;

    fn check(&self, request: Permitted<'r>) -> Result<Admitted<'r>, Refusal> {
        let (target, project, decider, exchange) = request.into_parts();
        let caller = decider.identity.caller();
        // Every operation of the catalogue writes.
        if self.freeze.is_frozen(caller) {
            return Err(Refusal::Frozen);
        }
        let action = target.operation().action;
        let admitted = decider.in_force.limiter.admit(caller, action, &project.settings.id);
        let admission = admitted.map_err(|exceeded| {
            self.metrics.rate_limited(exceeded.scope, caller, &project.settings.name);
            Refusal::RateLimited(exceeded)
        })?;
        Ok(Admitted { decided: Decided { target, decider, _admission: admission }, project, exchange })
    }
}
