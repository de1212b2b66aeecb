//! May they? [`Routed`] → [`Permitted`].
//!
//! It stands behind everything it decides on, and nothing that acts can be reached but through it. The
//! decision itself is `policy`'s.

use std::sync::Arc;

use tower::{BoxError, filter::Predicate};

use super::{Exchange, Project, Refusal, Routed, authenticate::Decider};
use crate::{
    metrics::Metrics,
    operation::Target,
    policy::{Call, Effect},
};

/// A request that the policy allows.
pub struct Permitted {
    target: Target,
    project: Arc<Project>,
    decider: Decider,
    exchange: Exchange,
}

/// Asks the policy.
#[derive(Clone)]
pub struct Authorize {
    metrics: Arc<Metrics>,
}

impl Authorize {
    /// Asks the policy that `authenticate` took, and counts the decisions.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl Permitted {
    pub(super) fn into_parts(self) -> (Target, Arc<Project>, Decider, Exchange) {
        (self.target, self.project, self.decider, self.exchange)
    }
}

impl Predicate<Routed> for Authorize {
    type Request = Permitted;

    fn check(&mut self, request: Routed) -> Result<Permitted, BoxError> {
        let (target, project, decider, exchange) = request.into_parts();
        let (caller, action) = (decider.identity.caller(), target.operation().action);
        let call = Call { caller, action, project: &project.settings.name, job: target.job().as_str() };
        let policy = &decider.in_force.policy;
        let decision = policy.decide(&call);
        let rule = decision.rule.map(|rule| (rule.id.clone(), rule.location.to_string()));
        {
            let mut record = exchange.trail.note();
            record.effect = Some(decision.effect.as_str());
            (record.rule, record.location) = rule.clone().unzip();
            record.policy_hash = Some(Arc::clone(policy.hash()));
            record.policy_mode = Some(ENFORCE);
        }
        self.metrics.decided(caller, action, &decision);
        match decision.effect {
            Effect::Allow => Ok(Permitted { target, project, decider, exchange }),
            Effect::Deny => Err(Refusal::Denied(rule).into()),
        }
    }
}

/// Every rule is applied: there is no other mode yet.
const ENFORCE: &str = "enforce";
