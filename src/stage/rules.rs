//! Decides again by the policy in force when the facts of a job are known.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    ActivePolicy, Authorize, Delivered, Refusal, authorize::Allowed, outcome::AttemptOutcome,
    pending::Pending, recorded::recorded_values,
};
use crate::{
    audit::RecordedFacts,
    editing::Answered,
    metrics::Metrics,
    operation::Target,
    policy::{Facts, Keys},
    reason::Reason,
};

/// The result of a lookup.
pub(super) enum LookupResult {
    Facts(Box<Facts>),
    Absent,
    Unknown(Reason),
}

/// Wraps the stages that act in [`LookupStage`](super::LookupStage).
#[derive(Clone)]
pub struct LookupLayer {
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) authorize: Authorize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorded: RecordedFacts,
}

impl LookupLayer {
    /// Decides by the policy that is in force when the facts arrive, and records them as configured.
    pub fn new(
        in_force: Arc<ArcSwap<ActivePolicy>>,
        authorize: Authorize,
        metrics: Arc<Metrics>,
        recorded: RecordedFacts,
    ) -> Self {
        Self { in_force, authorize, metrics, recorded }
    }
}

/// Interprets the end of a lookup.
///
/// # Errors
/// If the lookup may no longer be sent, which does not concern the job.
pub(super) fn seen(
    result: Result<Delivered, Refusal>,
    view: &Target,
) -> Result<Result<Answered, Reason>, Refusal> {
    match result {
        Ok(Delivered { answer, .. }) => Ok(Ok(Answered::read(view, answer.status.as_u16(), &answer.body))),
        Err(Refusal::Upstream(error)) => {
            let reason = AttemptOutcome::Failed(&error).row().refusal.map(|refusal| refusal.reason);
            Ok(Err(reason.unwrap_or(Reason::LookupStatus)))
        }
        Err(refusal) => Err(refusal),
    }
}

impl LookupLayer {
    /// Decides by the result of the lookup.
    pub(super) fn conclude(
        &self,
        pending: &mut Pending<'_>,
        found: LookupResult,
        keys: Keys,
    ) -> Result<Allowed, Refusal> {
        let facts = match found {
            LookupResult::Facts(facts) => facts,
            LookupResult::Absent => {
                let policy = &pending.decided.decision_context.in_force.policy;
                return self.authorize.conclude_absent(policy, pending.exchange.record);
            }
            LookupResult::Unknown(reason) => return Err(Refusal::LookupFailed(reason)),
        };
        pending.exchange.record.facts = recorded_values(&facts, keys, self.recorded);
        pending.decided.facts = Some(facts);
        self.ask(pending)
    }

    /// Decides without the facts that a rule under observation needs, and records that its effect is unknown.
    pub(super) fn conclude_unobserved(&self, pending: &mut Pending<'_>) -> Result<Allowed, Refusal> {
        pending.decided.facts = None;
        self.ask(pending)
    }

    fn ask(&self, pending: &mut Pending<'_>) -> Result<Allowed, Refusal> {
        let Pending { decided, project, exchange } = pending;
        let query = decided.query(project, &exchange.peer);
        self.authorize.conclude(&decided.decision_context.in_force.policy, &query, exchange.record)
    }
}
