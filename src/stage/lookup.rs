//! Looks up the jobs that a decision depends on, then decides: [`Admitted`] → [`Permitted`].
//!
//! It follows every decision that needs no facts, and wraps the stages that act. It uses these twice: to send a signed view
//! of the job, and to send the call. Only an allowed call becomes a [`Permitted`], so one that waits cannot be composed. A
//! lookup has one of three results: facts, by which the policy in force decides; no such job, which is denied; or failure,
//! and then the call is not made.

use tokio::time::Instant;
use tower::Layer;

use super::{
    Admitted, Compose, Composed, Delivered, Refusal, Service, Stage, Viewing,
    pending::{Decided, Pending},
    permitted::Permitted,
    rules::{LookupLayer, LookupResult, seen},
};
use crate::{
    editing::Lookup,
    metrics::LookupOutcome,
    operation::Access,
    policy::{Effect, Keys, Mode, NeededFacts},
    reason::Reason,
};

/// A request that cannot be decided before its job is looked up. It cannot be composed.
pub struct Waiting<'r> {
    pending: Pending<'r>,
    needed_facts: LookupPurpose,
}

/// What a request within its limits needs next.
pub enum AfterLimits<'r> {
    /// Nothing: it is decided.
    Permitted(Permitted<'r>),
    /// A lookup of its job.
    Waiting(Waiting<'r>),
    /// Its answer: it is a view, whose jobs are decided one by one.
    Viewing(Viewing<'r>),
}

/// Why a job is looked up.
#[derive(Clone, Copy)]
enum LookupPurpose {
    /// The decision needs these facts.
    ToDecide(Keys),
    /// A rule under observation needs these facts. The call itself is decided already.
    ToObserve(Keys),
}

/// A request in flight: the future of its call, its lookup or its view.
enum InFlightView<C, W, V> {
    Composed(C),
    Waiting(W),
    Viewing(V),
}

/// Looks jobs up.
pub struct LookupStage<S> {
    act: S,
    rules: LookupLayer,
}

impl<S> Layer<S> for LookupLayer {
    type Service = LookupStage<S>;

    fn layer(&self, act: S) -> LookupStage<S> {
        LookupStage { act, rules: self.clone() }
    }
}

impl<'r> AfterLimits<'r> {
    /// Determines what the request needs.
    pub fn of(admitted: Admitted<'r>) -> Self {
        let (pending, needed_facts) = match Permitted::of(admitted) {
            Ok(permitted) => return Self::Permitted(permitted),
            Err(waits) => waits,
        };
        let purpose = match (pending.decided.target.operation().access, needed_facts) {
            (Access::Write, NeededFacts::ToDecide(keys)) => LookupPurpose::ToDecide(keys),
            (Access::Write, NeededFacts::ToObserve(keys)) => LookupPurpose::ToObserve(keys),
            (Access::Read, _) | (Access::Write, NeededFacts::Nothing) => {
                return Self::Viewing(Viewing::new(pending, needed_facts));
            }
        };
        Self::Waiting(Waiting { pending, needed_facts: purpose })
    }
}

impl<'r, S> Service<Admitted<'r>> for LookupStage<S>
where
    S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
{
    type Response = Delivered;
    type Error = Refusal;

    fn call(&self, request: Admitted<'r>) -> impl Future<Output = Result<Delivered, Refusal>> + Send {
        // Boxed, because most calls need no lookup, and all would pay for the space.
        let in_flight = match AfterLimits::of(request) {
            AfterLimits::Permitted(permitted) => InFlightView::Composed(Compose.check(permitted)),
            AfterLimits::Waiting(waiting) => InFlightView::Waiting(Box::pin(self.settled(waiting))),
            AfterLimits::Viewing(viewing) => {
                InFlightView::Viewing(Box::pin(self.rules.view(&self.act, viewing)))
            }
        };
        async move {
            match in_flight {
                InFlightView::Composed(composed) => self.act.call(composed?).await,
                InFlightView::Waiting(settled) => settled.await,
                InFlightView::Viewing(viewed) => viewed.await,
            }
        }
    }
}

impl<S> LookupStage<S>
where
    S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
{
    /// Decides a waiting call, then sends it.
    async fn settled(&self, waiting: Waiting<'_>) -> Result<Delivered, Refusal> {
        let composed = Compose.check(self.settle(waiting).await?)?;
        self.act.call(composed).await
    }

    async fn settle<'r>(&self, waiting: Waiting<'r>) -> Result<Permitted<'r>, Refusal> {
        let Waiting { pending, needed_facts } = waiting;
        match needed_facts {
            LookupPurpose::ToDecide(keys) => self.decide(pending, keys).await,
            LookupPurpose::ToObserve(keys) => self.observe(pending, keys).await,
        }
    }

    /// Looks the job up, and decides by its facts and the policy in force.
    async fn decide<'r>(&self, mut pending: Pending<'r>, keys: Keys) -> Result<Permitted<'r>, Refusal> {
        let deadline = pending.exchange.deadline;
        let result = match self.look_up(&mut pending, deadline).await {
            Ok(found) => {
                pending.decided.decision_context.in_force = self.rules.in_force.load_full();
                self.rules.conclude(&mut pending, found, keys)
            }
            Err(refusal) => Err(refusal),
        };
        let Decided { decision_context, admission, .. } = &pending.decided;
        if let Err(Refusal::DeniedByFacts(_)) = &result {
            decision_context.in_force.limiter.lookup_denied(decision_context.identity.caller());
        }
        if result.is_err() {
            admission.give_back();
        }
        result.map(|allowed| Permitted::new(pending, allowed))
    }

    /// Looks the job up to record what would have been decided, if time and quota allow. Whatever the result, the same
    /// policy decides, so the call's effect stays the same.
    async fn observe<'r>(&self, mut pending: Pending<'r>, keys: Keys) -> Result<Permitted<'r>, Refusal> {
        let found = if pending.decided.admission.has_trial() {
            let now = Instant::now();
            // Most of the time is reserved for the call itself.
            let deadline = now + pending.exchange.deadline.saturating_duration_since(now) / 4;
            self.look_up(&mut pending, deadline).await.unwrap_or(LookupResult::Unknown(Reason::LookupStatus))
        } else {
            LookupResult::Unknown(Reason::FactNotLookedUp)
        };
        let is_absent = matches!(found, LookupResult::Absent);
        let result = match found {
            LookupResult::Unknown(_) | LookupResult::Absent => self.rules.conclude_unobserved(&mut pending),
            found @ LookupResult::Facts(_) => self.rules.conclude(&mut pending, found, keys),
        };
        if is_absent {
            // A call on a missing job is denied, whatever the rules are.
            let mode = if result.is_ok() { Effect::Deny.observed() } else { Mode::Enforce.as_str() };
            pending.exchange.record.policy_mode = Some(mode);
        }
        result.map(|allowed| Permitted::new(pending, allowed))
    }

    /// Looks the job up with one call, which is retried like any other.
    async fn look_up(&self, pending: &mut Pending<'_>, deadline: Instant) -> Result<LookupResult, Refusal> {
        let view = pending.looked_up()?;
        let job = view.job().ok_or_else(|| Refusal::bug("a lookup of no job"))?;
        let answered = self.act.call(Compose::lookup(pending, &view, deadline)?).await;
        let found = match seen(answered, &view)? {
            Ok(answered) => match answered.into_lookup(job) {
                Lookup::Facts(facts) => LookupResult::Facts(Box::new(facts)),
                Lookup::Absent => LookupResult::Absent,
                Lookup::Unknown(doubt) => LookupResult::Unknown(doubt.reason()),
            },
            Err(reason) => LookupResult::Unknown(reason),
        };
        self.rules.metrics.looked_up(match &found {
            LookupResult::Facts(_) => LookupOutcome::Facts,
            LookupResult::Absent => LookupOutcome::Absent,
            LookupResult::Unknown(_) => LookupOutcome::Unknown,
        });
        Ok(found)
    }
}
