//! Authorizes requests: [`Routed`] → [`Evaluated`].
//!
//! It follows every stage whose results it decides on, and the stages that act can only be reached through it. `policy`
//! makes the decision itself.

use std::sync::Arc;

use super::{
    Denial, Project, Refusal, Routed, Stage, authenticate::DecisionContext, exchange::Exchange,
    route::JobSpec,
};
use crate::{
    audit::{Record, bounded},
    identity::{Identity, Peer},
    metrics::Metrics,
    operation::{Access, Jobs, Segment, Target},
    policy::{
        Call, Decision, Effect, Facts, Field, Keys, Mode, NeededFacts, Observed, Outcome, Policy, Rule,
        UnknownReason,
    },
    reason::Reason,
};

/// A request that the policy allows or, depending on the job, may allow. Or one that it denies, but whose job is looked up
/// to record what a rule under observation would have decided.
pub struct Evaluated<'r> {
    pub(super) target: Target,
    pub(super) job_spec: Option<Box<JobSpec>>,
    pub(super) project: Arc<Project>,
    pub(super) decision_context: DecisionContext,
    pub(super) exchange: Exchange<'r>,
    pub(super) needed_facts: NeededFacts,
    /// Whether it is denied, and only a rule under observation is undecided.
    pub(super) is_denied: bool,
    /// Private, so that only this stage can make one.
    _made_here: (),
}

/// Proof that a policy finally allowed a call. Only this stage makes it.
pub(super) struct Allowed(());

/// A call as the policy evaluates it.
pub(super) struct PolicyQuery<'r> {
    pub(super) target: &'r Target,
    pub(super) project: &'r Project,
    pub(super) identity: &'r Identity,
    pub(super) peer: &'r Peer,
    /// The facts of its job, looked up or from the body of a create.
    pub(super) facts: Option<&'r Facts>,
}

/// Evaluates the policy.
#[derive(Clone)]
pub struct Authorize {
    metrics: Arc<Metrics>,
}

impl Authorize {
    /// Evaluates the policy that `authenticate` took, and counts the decisions.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Evaluates a policy before anything is looked up. A decision that depends on facts is neither made nor counted yet.
    ///
    /// # Errors
    /// If the call is denied whatever the job is, and no rule under observation needs its facts.
    fn evaluate(
        &self,
        policy: &Policy,
        query: &PolicyQuery<'_>,
        record: &mut Record,
    ) -> Result<(NeededFacts, bool), Refusal> {
        if query.target.operation().access == Access::Read {
            return self.judge_view(policy, query, record).map(|needed_facts| (needed_facts, false));
        }
        let call = query.to_policy(record);
        let outcome = policy.decide(&call);
        note(policy, &outcome, record);
        let (needed_facts, is_denied) = (outcome.needed_facts(), outcome.applied() == Some(Effect::Deny));
        if let (Outcome::Decided(decision), NeededFacts::Nothing) = (&outcome, needed_facts) {
            self.metrics.decided(decision);
        }
        let is_over = is_denied && needed_facts == NeededFacts::Nothing;
        if is_over { Err(query.denied(policy, &call, &outcome)) } else { Ok((needed_facts, is_denied)) }
    }

    /// Evaluates a policy for a view before it is sent. Decisions that depend on facts are made from its answer.
    ///
    /// # Errors
    /// If one of the jobs is denied whatever its facts are, or the whole list is.
    pub(super) fn judge_view(
        &self,
        policy: &Policy,
        query: &PolicyQuery<'_>,
        record: &mut Record,
    ) -> Result<NeededFacts, Refusal> {
        let PolicyQuery { target, project, identity, .. } = query;
        if let Jobs::List(_) = target.jobs() {
            let (caller, action) = (identity.caller(), target.operation().action);
            if policy.allows_some(caller, action, &project.settings.name) {
                return Ok(NeededFacts::Nothing);
            }
            let (denied, call) = (no_rule(policy), query.to_policy(record));
            note(policy, &Outcome::Decided(denied), record);
            self.metrics.decided(&denied);
            return Err(Refusal::Denied(Denial::NoRule(query.closest(policy, &call))));
        }
        let mut needs = Keys::NONE;
        for job in target.jobs().ids() {
            let call = query.about(Some(job), Facts::none_known(), record);
            let outcome = policy.decide(&call);
            note(policy, &outcome, record);
            if outcome.applied() == Some(Effect::Deny) {
                outcome.decision().into_iter().for_each(|decision| self.metrics.decided(decision));
                return Err(query.denied(policy, &call, &outcome));
            }
            if let NeededFacts::ToDecide(keys) = outcome.needed_facts() {
                needs = needs.and(keys);
            }
        }
        Ok(if needs.is_empty() { NeededFacts::Nothing } else { NeededFacts::ToDecide(needs) })
    }

    /// Decides whether to show a job with these facts.
    pub(super) fn of_job<'p>(&self, policy: &'p Policy, call: &Call<'_>) -> Outcome<'p> {
        let outcome = policy.decide(call);
        outcome.decision().into_iter().for_each(|decision| self.metrics.decided(decision));
        outcome
    }

    /// Makes the final decision with the facts that are known. A call that still depends on others is not allowed.
    ///
    /// # Errors
    /// If the call is denied or cannot be decided.
    pub(super) fn conclude(
        &self,
        policy: &Policy,
        query: &PolicyQuery<'_>,
        record: &mut Record,
    ) -> Result<Allowed, Refusal> {
        let call = query.to_policy(record);
        let outcome = policy.decide(&call);
        note(policy, &outcome, record);
        if let Outcome::Decided(decision) = &outcome {
            self.metrics.decided(decision);
        }
        match outcome.applied() {
            Some(Effect::Allow) => Ok(Allowed(())),
            Some(Effect::Deny) => Err(query.denied(policy, &call, &outcome)),
            None => Err(Refusal::LookupFailed(missing(outcome.needed_facts(), query.facts))),
        }
    }

    /// Denies a call on a job that does not exist, whatever the rules are. A policy in observe mode refuses nothing.
    ///
    /// # Errors
    /// If the policy is enforced.
    pub(super) fn conclude_absent(&self, policy: &Policy, record: &mut Record) -> Result<Allowed, Refusal> {
        let decision = no_rule(policy);
        note(policy, &Outcome::Decided(decision), record);
        self.metrics.decided(&decision);
        match decision.applied() {
            Effect::Allow => Ok(Allowed(())),
            Effect::Deny => Err(Refusal::DeniedByFacts(Reason::NoSuchJob)),
        }
    }
}

impl<'r> PolicyQuery<'r> {
    fn to_policy<'c>(&'c self, record: &Record) -> Call<'c>
    where
        'r: 'c,
    {
        self.about(self.target.job(), self.facts.unwrap_or(Facts::none_known()), record)
    }

    /// Returns the policy's call for one of the jobs, with these facts.
    pub(super) fn about<'c>(&'c self, job: Option<&'c Segment>, facts: &'c Facts, record: &Record) -> Call<'c>
    where
        'r: 'c,
    {
        Call {
            caller: self.identity.caller(),
            action: self.target.operation().action,
            project: &self.project.settings.name,
            job: job.map(Segment::as_str),
            facts,
            at: record.opened_at(),
            source_ip: self.peer.address.ip(),
            listener: Some(&self.peer.listener),
            identified_by: Some(self.identity.proof().as_str()),
        }
    }

    /// Returns the refusal of a denied call. After a lookup it is always the same, so it reveals no facts; a create's facts
    /// are the caller's own.
    fn denied(&self, policy: &Policy, call: &Call<'_>, outcome: &Outcome<'_>) -> Refusal {
        let rule = outcome.decision().and_then(|decision| decision.rule);
        let looked_up = self.facts.filter(|_| *self.target.jobs() != Jobs::ToBeMade);
        match (looked_up, rule.map(named)) {
            (None, Some((rule, location))) => Refusal::Denied(Denial::ByRule(rule, location)),
            (None, None) => Refusal::Denied(Denial::NoRule(self.closest(policy, call))),
            (Some(_), Some(_)) => Refusal::DeniedByFacts(Reason::DeniedByRule),
            (Some(_), None) => Refusal::DeniedByFacts(Reason::NoRule),
        }
    }

    /// Describes the closest rule, for callers on this machine only. Not for a list, which concerns no particular job.
    fn closest(&self, policy: &Policy, call: &Call<'_>) -> Option<String> {
        if !self.peer.local {
            return None;
        }
        let is_list = matches!(self.target.jobs(), Jobs::List(_));
        let closest =
            policy.closest_of_caller(call).filter(|closest| !is_list || closest.field < Field::Jobs);
        closest.map(|closest| closest.to_string())
    }
}

/// Returns why a needed fact is unknown.
pub(super) fn missing(needed_facts: NeededFacts, facts: Option<&Facts>) -> Reason {
    let (NeededFacts::ToDecide(keys), Some(facts)) = (needed_facts, facts) else {
        return Reason::FactNotLookedUp;
    };
    match keys.iter().find_map(|key| key.why_unknown(facts)) {
        Some(UnknownReason::NotInAnswer) => Reason::FactNotInAnswer,
        Some(UnknownReason::UnknownWord) => Reason::FactUnknownWord,
        Some(UnknownReason::NotLookedUp) | None => Reason::FactNotLookedUp,
    }
}

/// The decision of a policy in which no rule matches.
fn no_rule(policy: &Policy) -> Decision<'_> {
    Decision { effect: Effect::Deny, rule: None, mode: policy.mode(), observed: Observed::Nothing }
}

/// Records a decision. Not if an earlier attempt may have been executed, because that one was decided by the earlier policy.
pub(super) fn note(policy: &Policy, outcome: &Outcome<'_>, record: &mut Record) {
    if record.call.maybe_sent && record.call.status.is_none() {
        return;
    }
    let (rule, mode) = match (outcome.decision(), outcome.needed_facts()) {
        (Some(decision), _) => {
            let (rule, mode) = deciding_rule(decision);
            (rule, Some(mode))
        }
        (None, NeededFacts::ToObserve(_)) => (None, Some(UNKNOWN)),
        (None, _) => (None, None),
    };
    record.effect = outcome.applied().map(Effect::as_str);
    (record.rule, record.location) = rule.map(named).unzip();
    record.policy_reason = rule.and_then(|rule| rule.reason.as_deref()).map(bounded);
    record.policy_hash = Some(Arc::clone(policy.hash()));
    record.policy_mode = mode;
}

impl<'r> Stage<Routed<'r>> for Authorize {
    type After = Evaluated<'r>;

    fn check(&self, request: Routed<'r>) -> Result<Evaluated<'r>, Refusal> {
        let Routed { target, job_spec, project, decision_context, exchange, .. } = request;
        let (identity, facts) =
            (&decision_context.identity, job_spec.as_ref().map(|job_spec| job_spec.facts()));
        let query = PolicyQuery { target: &target, project: &project, identity, peer: &exchange.peer, facts };
        let (needed_facts, is_denied) =
            self.evaluate(&decision_context.in_force.policy, &query, exchange.record)?;
        Ok(Evaluated {
            target,
            job_spec,
            project,
            decision_context,
            exchange,
            needed_facts,
            is_denied,
            _made_here: (),
        })
    }
}

/// Returns the rule and mode for the record: the rule that decided or, if a rule under observation would have changed the
/// effect, that one.
fn deciding_rule<'p>(decision: &Decision<'p>) -> (Option<&'p Rule>, &'static str) {
    match (decision.mode, decision.observed) {
        (Mode::Observe, _) => (decision.rule, decision.effect.observed()),
        (Mode::Enforce, Observed::Unknown(_)) => (decision.rule, UNKNOWN),
        (Mode::Enforce, Observed::Rule(rule)) if rule.effect != decision.effect => {
            (Some(rule), rule.effect.observed())
        }
        (Mode::Enforce, _) => (decision.rule, decision.mode.as_str()),
    }
}

/// The mode if the observed decision depends on unknown facts.
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
            let (rule, mode) = deciding_rule(&decision);
            let found = (decision.applied().as_str(), rule.map(|rule| rule.id.as_str()), mode);
            assert_eq!(found, expected);
        }
    }
}
