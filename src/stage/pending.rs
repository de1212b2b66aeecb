//! The data that is borrowed while a request is in flight. It grants nothing.

use std::sync::Arc;

use super::{
    Project, Refusal, authenticate::DecisionContext, authorize::PolicyQuery, exchange::Exchange,
    route::JobSpec,
};
use crate::{
    config::LookupForm,
    identity::Peer,
    limit::Admission,
    operation::{Operation, Target, Version},
    policy::{Facts, Key, NeededFacts},
};

/// What was decided: the caller, the policy, the limits.
pub(super) struct Decided {
    pub(super) target: Target,
    /// The job that the body of a create specifies.
    pub(super) job_spec: Option<Box<JobSpec>>,
    pub(super) decision_context: DecisionContext,
    /// The facts looked up of its job.
    pub(super) facts: Option<Box<Facts>>,
    pub(super) admission: Admission,
}

impl Decided {
    /// Returns the known facts of its job: looked up, or from the body of a create.
    pub(super) fn known(&self) -> Option<&Facts> {
        self.job_spec.as_ref().map(|job_spec| job_spec.facts()).or(self.facts.as_deref())
    }

    /// Returns the call as the policy evaluates it.
    pub(super) fn query<'q>(&'q self, project: &'q Project, peer: &'q Peer) -> PolicyQuery<'q> {
        let identity = &self.decision_context.identity;
        PolicyQuery { target: &self.target, project, identity, peer, facts: self.known() }
    }

    /// Returns a copy for a lookup, which does not count as a call in flight of its own.
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

/// The data that is borrowed while a request is in flight. It grants nothing.
pub(super) struct Pending<'r> {
    pub(super) decided: Decided,
    pub(super) project: Arc<Project>,
    pub(super) exchange: Exchange<'r>,
}

impl Pending<'_> {
    /// Returns the view that looks its jobs up, in the API version that its project sets.
    pub(super) fn looked_up(&self) -> Result<Target, Refusal> {
        let version = match self.project.settings.lookup_form {
            LookupForm::V1 => Version::V1,
            LookupForm::V2 => Version::V2,
        };
        let view = Operation::view(version).and_then(|view| self.decided.target.viewed_by(view));
        view.ok_or_else(|| Refusal::bug("a call of which no job can be looked up"))
    }

    /// Returns the call as the policy evaluates it.
    pub(super) fn query(&self) -> PolicyQuery<'_> {
        self.decided.query(&self.project, &self.exchange.peer)
    }
}

/// Whether a view's own answer lacks the needed facts, and the answer of another version has them.
pub(super) fn is_looked_up_first(target: &Target, project: &Project, needed_facts: NeededFacts) -> bool {
    let NeededFacts::ToDecide(keys) = needed_facts else { return false };
    target.operation().version == Version::V2
        && project.settings.lookup_form == LookupForm::V1
        && !keys.iter().all(Key::is_in_v2)
}
