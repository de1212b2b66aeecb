//! May they now? [`Permitted`] → [`Admitted`].
//!
//! It stands behind `authorize`, so that nobody uses up a quota with calls they may not make, and is the last
//! stage that can refuse a call for the caller's own good or the others'.

use std::sync::Arc;

use tower::{BoxError, filter::Predicate};

use super::{Exchange, Permitted, Project, Refusal};
use crate::{
    limit::{Admission, Freeze},
    metrics::Metrics,
    operation::Target,
};

/// A request that may be carried out now.
pub struct Admitted {
    target: Target,
    project: Arc<Project>,
    exchange: Exchange,
    admission: Admission,
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

impl Admitted {
    pub(super) fn into_parts(self) -> (Target, Arc<Project>, Exchange, Admission) {
        (self.target, self.project, self.exchange, self.admission)
    }
}

impl Predicate<Permitted> for Limit {
    type Request = Admitted;

    fn check(&mut self, request: Permitted) -> Result<Admitted, BoxError> {
        let (target, project, decider, exchange) = request.into_parts();
        let caller = decider.identity.caller();
        // Every operation of the catalogue writes.
        if self.freeze.is_frozen(caller) {
            return Err(Refusal::Frozen.into());
        }
        let admission = decider.in_force.limiter.admit(caller, &project.settings.id).map_err(|exceeded| {
            self.metrics.rate_limited(exceeded.scope, caller, &project.settings.name);
            Refusal::RateLimited(exceeded)
        })?;
        Ok(Admitted { target, project, exchange, admission })
    }
}
