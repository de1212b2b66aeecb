//! What would be sent for this head? The stages from `receive` to `compose`, in their order, as one function of values:
//! what fuzzing asks hundreds of thousands of times a second.
//!
//! It is built for that only. The stack has the same stages, between those that wait and write.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tower::{BoxError, filter::Predicate};

use super::{
    Arrival, Authenticate, Authorize, Compose, InForce, Limit, Project, Receive, Recorded, Refusal, Route,
};
use crate::{audit::Trail, config::Limits, limit::Freeze, metrics::Metrics, upstream::Outbound};

/// The stages that decide.
#[derive(Clone)]
pub struct Decide {
    receive: Receive,
    authenticate: Authenticate,
    route: Route,
    authorize: Authorize,
    limit: Limit,
}

impl Decide {
    /// Decides by what is in force, on these projects.
    pub fn new(
        in_force: Arc<ArcSwap<InForce>>,
        projects: &[Arc<Project>],
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            receive: Receive::new(limits.request_deadline),
            authenticate: Authenticate::new(in_force),
            route: Route::new(projects),
            authorize: Authorize::new(Arc::clone(&metrics)),
            limit: Limit::new(Freeze::default(), metrics),
        }
    }

    /// The request that would be signed and sent; the trail says for whom.
    ///
    /// # Errors
    /// Why there is none.
    pub fn decide(&mut self, arrival: Arrival, trail: &Trail) -> Result<Outbound, Refusal> {
        self.composed(Recorded::unwritten(arrival, trail.clone()))
            .map_err(|error| error.downcast::<Refusal>().map_or(Refusal::Internal, |refusal| *refusal))
    }

    fn composed(&mut self, recorded: Recorded) -> Result<Outbound, BoxError> {
        let received = self.receive.check(recorded)?;
        let identified = self.authenticate.check(received)?;
        let routed = self.route.check(identified)?;
        let permitted = self.authorize.check(routed)?;
        let admitted = self.limit.check(permitted)?;
        Ok(Compose.check(admitted)?.into_parts().0)
    }
}
