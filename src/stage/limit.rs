//! Applies rate limits and freezes: [`Evaluated`] → [`Admitted`].
//!
//! It follows `authorize`, so that nobody uses up a quota with calls that are not allowed.

pub(super) use std::sync::Arc;

use super::{
    Evaluated, Project, Refusal, Stage,
    exchange::Exchange,
    pending::Pending,
    pending::{Decided, is_looked_up_first},
};
use crate::{
    identity::CallerId,
    limit::{Admission, CallCount, Freeze, LimitQuery},
    metrics::Metrics,
    operation::Access,
    policy::NeededFacts,
};

/// A request within its limits that is allowed or waits for facts; or one that is denied and looked up only to observe.
pub struct Admitted<'r> {
    decided: Decided,
    project: Arc<Project>,
    exchange: Exchange<'r>,
    needed_facts: NeededFacts,
}

/// Applies the limits of callers and projects.
#[derive(Clone)]
pub struct Limit {
    freeze: Freeze,
    metrics: Arc<Metrics>,
}

impl Limit {
    /// Applies the limits of the policy that `authenticate` took, counts refusals, and refuses frozen callers.
    pub fn new(freeze: Freeze, metrics: Arc<Metrics>) -> Self {
        Self { freeze, metrics }
    }
}

impl Limit {
    /// Whether this caller is frozen.
    pub(super) fn is_frozen(&self, caller: &CallerId) -> bool {
        self.freeze.is_frozen(caller)
    }
}

impl<'r> Admitted<'r> {
    pub(super) fn into_parts(self) -> (Pending<'r>, NeededFacts) {
        let Self { decided, project, exchange, needed_facts } = self;
        (Pending { decided, project, exchange }, needed_facts)
    }
}

impl<'r> Stage<Evaluated<'r>> for Limit {
    type After = Admitted<'r>;

    fn check(&self, request: Evaluated<'r>) -> Result<Admitted<'r>, Refusal> {
        let Evaluated {
            target, job_spec, project, decision_context, exchange, needed_facts, is_denied, ..
        } = request;
        let (caller, operation) = (decision_context.identity.caller(), target.operation());
        if !is_denied && operation.access == Access::Write && self.is_frozen(caller) {
            return Err(Refusal::Frozen);
        }
        let calls = match (operation.access, needed_facts) {
            _ if is_denied => CallCount::Trial,
            (Access::Read, needed_facts) if is_looked_up_first(&target, &project, needed_facts) => {
                CallCount::LookupAndView
            }
            (Access::Read, _) => CallCount::View,
            (Access::Write, NeededFacts::Nothing) => CallCount::Write,
            (Access::Write, NeededFacts::ToDecide(_)) => CallCount::LookupAndWrite,
            (Access::Write, NeededFacts::ToObserve(_)) => CallCount::TrialAndWrite,
        };
        let asked = LimitQuery { caller, action: operation.action, project_id: &project.settings.id, calls };
        let admission = match decision_context.in_force.limiter.admit(&asked) {
            Ok(admission) => admission,
            // It stays denied, and is answered without a lookup.
            Err(_) if is_denied => Admission::default(),
            Err(exceeded) => {
                self.metrics.rate_limited(exceeded.scope, caller, &project.settings.name);
                return Err(Refusal::RateLimited(exceeded));
            }
        };
        Ok(Admitted {
            decided: Decided { target, job_spec, decision_context, facts: None, admission },
            project,
            exchange,
            needed_facts,
        })
    }
}
