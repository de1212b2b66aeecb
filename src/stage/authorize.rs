//! May they? [`Routed`] → [`Permitted`].
//!
//! It stands behind everything it decides on, and nothing that acts can be reached but through it. The
//! decision itself is `policy`'s.

use std::sync::Arc;

use super::{Exchange, Project, Refusal, Routed, Stage, authenticate::Decider};
use crate::{
    audit::{Record, bounded},
    identity::{Identity, Peer},
    metrics::Metrics,
    operation::{Segment, Target},
    policy::{Call, Decision, Effect, Facts, Mode, Observed, Outcome, Policy, Rule},
};

/// A request that the policy allows.
pub struct Permitted<'r> {
    target: Target,
    project: Arc<Project>,
    decider: Decider,
    exchange: Exchange<'r>,
}

/// What the policy is asked about.
pub(super) struct Question<'r> {
    pub(super) target: &'r Target,
    pub(super) project: &'r Project,
    pub(super) identity: &'r Identity,
    pub(super) peer: &'r Peer,
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

impl<'r> Permitted<'r> {
    pub(super) fn into_parts(self) -> (Target, Arc<Project>, Decider, Exchange<'r>) {
        (self.target, self.project, self.decider, self.exchange)
    }
}

impl Authorize {
    /// Asks this policy, and notes on the record what it said: unless an attempt may have been carried out of which
    /// nothing was heard, because that was decided by the policy before.
    pub(super) fn decide(
        &self,
        policy: &Policy,
        question: &Question<'_>,
        record: &mut Record,
    ) -> Result<(), Refusal> {
        let Question { target, project, identity, peer } = question;
        let (caller, action) = (identity.caller(), target.operation().action);
        let call = Call {
            caller,
            action,
            project: &project.settings.name,
            job: target.job().map(Segment::as_str),
            facts: Facts::none_known(),
            at: record.opened(),
            source_ip: peer.address.ip(),
            listener: Some(&peer.listener),
            identified_by: Some(identity.proof().as_str()),
        };
        let outcome = policy.decide(&call);
        // What depends on facts is not allowed.
        let applied = outcome.applied().unwrap_or(Effect::Deny);
        let (rule, mode) = outcome.decision().map_or((None, UNKNOWN), told);
        if !record.maybe_sent || record.upstream_status.is_some() {
            record.effect = Some(applied.as_str());
            (record.rule, record.location) = rule.map(named).unzip();
            record.policy_reason = rule.and_then(|rule| rule.reason.as_deref()).map(bounded);
            record.policy_hash = Some(Arc::clone(policy.hash()));
            record.policy_mode = Some(mode);
        }
        let rule = match &outcome {
            Outcome::Decided(decision) => {
                self.metrics.decided(decision);
                decision.rule
            }
            Outcome::Undetermined(_) => None,
        };
        match applied {
            Effect::Allow => Ok(()),
            Effect::Deny => Err(Refusal::Denied(rule.map(named))),
        }
    }
}

impl<'r> Stage<Routed<'r>> for Authorize {
    type After = Permitted<'r>;

    fn check(&self, request: Routed<'r>) -> Result<Permitted<'r>, Refusal> {
        let (target, project, decider, exchange) = request.into_parts();
        let identity = &decider.identity;
        let question = Question { target: &target, project: &project, identity, peer: &exchange.peer };
        self.decide(&decider.in_force.policy, &question, exchange.record)?;
        Ok(Permitted { target, project, decider, exchange })
    }
}

/// The rule that a record names, and the mode: the rule that decided, or, where something that is only observed
/// would have changed what was done, that.
fn told<'p>(decision: &Decision<'p>) -> (Option<&'p Rule>, &'static str) {
    match (decision.mode, decision.observed) {
        (Mode::Observe, _) => (decision.rule, decision.effect.observed()),
        (Mode::Enforce, Observed::Unknown(_)) => (decision.rule, UNKNOWN),
        (Mode::Enforce, Observed::Rule(rule)) if rule.effect != decision.effect => {
            (Some(rule), rule.effect.observed())
        }
        (Mode::Enforce, _) => (decision.rule, decision.mode.as_str()),
    }
}

/// The mode of a record where what would have been decided depends on facts that are not known.
const UNKNOWN: &str = "would_unknown";

fn named(rule: &Rule) -> (String, String) {
    (rule.id.clone(), rule.location.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, Location};

    #[test]
    fn a_record_names_what_decided_or_what_would_have_changed_it() {
        let rule = |id: &str, effect| Rule {
            id: id.into(),
            effect,
            callers: vec![],
            actions: vec![],
            projects: vec![],
            jobs: vec![],
            condition: Condition::default(),
            expires: None,
            mode: Mode::Enforce,
            location: Location { file: "policy.yaml".into(), line: 1 },
            reason: None,
        };
        let (allow, deny) = (rule("allow", Effect::Allow), rule("deny", Effect::Deny));
        let (wider, keep) = (rule("wider", Effect::Allow), rule("keep", Effect::Deny));
        for (rule, observed, mode, expected) in [
            (Some(&allow), None, Mode::Enforce, ("allow", Some("allow"), "enforce")),
            (Some(&deny), None, Mode::Enforce, ("deny", Some("deny"), "enforce")),
            (None, None, Mode::Enforce, ("deny", None, "enforce")),
            (None, Some(&wider), Mode::Enforce, ("deny", Some("wider"), "would_allow")),
            (Some(&allow), Some(&keep), Mode::Enforce, ("allow", Some("keep"), "would_deny")),
            (Some(&allow), Some(&wider), Mode::Enforce, ("allow", Some("allow"), "enforce")),
            (Some(&deny), Some(&keep), Mode::Enforce, ("deny", Some("deny"), "enforce")),
            (None, Some(&keep), Mode::Enforce, ("deny", None, "enforce")),
            (Some(&allow), None, Mode::Observe, ("allow", Some("allow"), "would_allow")),
            (Some(&deny), None, Mode::Observe, ("allow", Some("deny"), "would_deny")),
            (None, None, Mode::Observe, ("allow", None, "would_deny")),
        ] {
            let effect = rule.map_or(Effect::Deny, |rule| rule.effect);
            let observed = observed.map_or(Observed::Nothing, Observed::Rule);
            let decision = Decision { effect, rule, mode, observed };
            let (rule, mode) = told(&decision);
            let found = (decision.applied().as_str(), rule.map(|rule| rule.id.as_str()), mode);
            assert_eq!(found, expected);
        }
    }
}
