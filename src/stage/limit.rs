//! Applies rate limits and freezes: [`Evaluated`] → [`Admitted`].
//!
//! It stands behind `authorize`, so that nobody uses up a quota with calls they may not make, and is the last
//! stage that can refuse a call for the caller's own good or the others'.

use std::sync::Arc;

use super::{
    Evaluated, Exchange, Project, Refusal, Stage, authenticate::DecisionContext, authorize::PolicyQuery,
    lookup::Pending, route::JobSpec, view::is_looked_up_first,
};
use crate::{
    identity::{CallerId, Peer},
    limit::{Admission, CallCount, Freeze, LimitQuery},
    metrics::Metrics,
    operation::{Access, Target},
    policy::{Facts, NeededFacts},
};

/// A request that may be carried out now, as far as it is decided; or one that is denied, and looked up for a trial.
pub struct Admitted<'r> {
    decided: Decided,
    project: Arc<Project>,
    exchange: Exchange<'r>,
    needed_facts: NeededFacts,
}

/// What was decided: for whom, by what, and within which limits.
pub(super) struct Decided {
    pub(super) target: Target,
    /// What a body asks for.
    pub(super) job_spec: Option<Box<JobSpec>>,
    pub(super) decision_context: DecisionContext,
    /// What was looked up of its job.
    pub(super) facts: Option<Box<Facts>>,
    pub(super) admission: Admission,
}

impl Decided {
    /// What is known of its job: looked up, or as a new one is to be.
    pub(super) fn known(&self) -> Option<&Facts> {
        self.job_spec.as_ref().map(|job_spec| job_spec.facts()).or(self.facts.as_deref())
    }

    /// What a policy is asked about it.
    pub(super) fn query<'q>(&'q self, project: &'q Project, peer: &'q Peer) -> PolicyQuery<'q> {
        let identity = &self.decision_context.identity;
        PolicyQuery { target: &self.target, project, identity, peer, facts: self.known() }
    }

    /// The same, to look at jobs by: it takes no place of its own among the calls under way.
    pub(super) fn to_look(&self) -> Self {
        Self {
            target: self.target.clone(),
            job_spec: None,
            decision_context: self.decision_context.clone(),
            facts: None,
            admission: Admission::default(),
        }
    }
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

impl Limit {
    /// Whether this caller changes nothing now.
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
            // It stays denied, and is told without a trial.
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
