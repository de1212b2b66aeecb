//! What is looked at while a request is in flight. It grants nothing.

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

/// What is looked at while a request is under way. It grants nothing.
pub(super) struct Pending<'r> {
    pub(super) decided: Decided,
    pub(super) project: Arc<Project>,
    pub(super) exchange: Exchange<'r>,
}

impl Pending<'_> {
    /// The call that views its jobs, in the form that its project says.
    pub(super) fn looked_up(&self) -> Result<Target, Refusal> {
        let version = match self.project.settings.lookup_form {
            LookupForm::V1 => Version::V1,
            LookupForm::V2 => Version::V2,
        };
        let view = Operation::view(version).and_then(|view| self.decided.target.viewed_by(view));
        view.ok_or_else(|| Refusal::bug("a call of which no job can be looked up"))
    }

    /// What a policy is asked about it.
    pub(super) fn query(&self) -> PolicyQuery<'_> {
        self.decided.query(&self.project, &self.exchange.peer)
    }
}

/// Whether the answer to this view does not carry what its jobs are decided by, and that of another version does.
pub(super) fn is_looked_up_first(target: &Target, project: &Project, needed_facts: NeededFacts) -> bool {
    let NeededFacts::ToDecide(keys) = needed_facts else { return false };
    target.operation().version == Version::V2
        && project.settings.lookup_form == LookupForm::V1
        && !keys.iter().all(Key::is_in_v2)
}
