//! Looks up jobs that a decision depends on: [`Admitted`] → [`Permitted`]: what a decision waits for is looked up, and
//! then it is made.
//!
//! It stands behind every decision that needs no facts, and around the stages that act, which it uses twice: to send a
//! signed view of the job where the decision waits for it, and to send the call. Only this stage makes a [`Permitted`],
//! so nothing that waits can be composed. A look-up ends in one of three: facts, by which the policy in force decides; no
//! such job, which is denied; or nobody can say, and then the call is not made.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::time::Instant;
use tower::Layer;

use super::{
    ActivePolicy, Admitted, Authorize, Compose, Composed, Delivered, Exchange, Project, Refusal, Service,
    Stage, Viewing, authorize::PolicyQuery, limit::Decided, outcome::AttemptOutcome,
};
use crate::{
    audit::{MAX_VALUES, RecordedFacts, bounded_bytes},
    config::LookupForm,
    editing::{Answered, Lookup},
    metrics::{LookupOutcome, Metrics},
    operation::{Access, Operation, Target, Version},
    policy::{Effect, Facts, Key, Keys, Mode, NeededFacts},
    reason::Reason,
};

/// A request that the policy allows, by all that it asks for.
pub struct Permitted<'r>(Pending<'r>);

/// A request that cannot be decided before its job is looked up. It can be composed by nobody.
pub struct Waiting<'r> {
    pending: Pending<'r>,
    needed_facts: LookupPurpose,
}

/// Whether a request that is within its limits waits for facts.
pub enum AfterLimits<'r> {
    /// It does not.
    Permitted(Permitted<'r>),
    /// It does.
    Waiting(Waiting<'r>),
    /// It is a view, of which the answer is decided.
    Viewing(Viewing<'r>),
}

/// What is looked at while a request is under way. It grants nothing.
pub(super) struct Pending<'r> {
    pub(super) decided: Decided,
    pub(super) project: Arc<Project>,
    pub(super) exchange: Exchange<'r>,
}

/// What a job is looked up for.
#[derive(Clone, Copy)]
enum LookupPurpose {
    /// Without these nothing is allowed.
    ToDecide(Keys),
    /// To say what would have been decided by these. It changes nothing of what is done.
    ToObserve(Keys),
}

/// A request that is on its way: what is sent of it, or what will come of it.
enum InFlightView<C, W, V> {
    Composed(C),
    Waiting(W),
    Viewing(V),
}

/// What a look-up came to.
enum LookupResult {
    Facts(Box<Facts>),
    Absent,
    Unknown(Reason),
}

/// Wraps the stages that act in [`LookupStage`].
#[derive(Clone)]
pub struct LookupLayer {
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) authorize: Authorize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorded: RecordedFacts,
}

/// Looks jobs up.
pub struct LookupStage<S> {
    act: S,
    rules: LookupLayer,
}

impl LookupLayer {
    /// Decides by the policy that is in force when the facts are there, and records them so.
    pub fn new(
        in_force: Arc<ArcSwap<ActivePolicy>>,
        authorize: Authorize,
        metrics: Arc<Metrics>,
        recorded: RecordedFacts,
    ) -> Self {
        Self { in_force, authorize, metrics, recorded }
    }
}

impl<S> Layer<S> for LookupLayer {
    type Service = LookupStage<S>;

    fn layer(&self, act: S) -> LookupStage<S> {
        LookupStage { act, rules: self.clone() }
    }
}

impl<'r> AfterLimits<'r> {
    /// Whether it waits.
    pub fn of(admitted: Admitted<'r>) -> Self {
        let (pending, needed_facts) = admitted.into_parts();
        let needed_facts = match (pending.decided.target.operation().access, needed_facts) {
            (Access::Read, needed_facts) => return Self::Viewing(Viewing::new(pending, needed_facts)),
            (Access::Write, NeededFacts::Nothing) => return Self::Permitted(Permitted(pending)),
            (Access::Write, NeededFacts::ToDecide(keys)) => LookupPurpose::ToDecide(keys),
            (Access::Write, NeededFacts::ToObserve(keys)) => LookupPurpose::ToObserve(keys),
        };
        Self::Waiting(Waiting { pending, needed_facts })
    }
}

impl<'r> Permitted<'r> {
    pub(super) fn into_parts(self) -> (Decided, Arc<Project>, Exchange<'r>) {
        let Pending { decided, project, exchange } = self.0;
        (decided, project, exchange)
    }
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

impl<'r, S> Service<Admitted<'r>> for LookupStage<S>
where
    S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
{
    type Response = Delivered;
    type Error = Refusal;

    fn call(&self, request: Admitted<'r>) -> impl Future<Output = Result<Delivered, Refusal>> + Send {
        // What waits is in a box, because most calls wait for nothing, and all would have the room for it.
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
    /// A call that waited, and was carried out then.
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

    /// Looks the job up, and decides by what is found and the policy in force.
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
        result.map(|()| Permitted(pending))
    }

    /// Looks the job up to tell what would have been decided, where that takes not too much. Whatever comes of it, the
    /// call is as allowed, or as denied, as it was: the same policy decides.
    async fn observe<'r>(&self, mut pending: Pending<'r>, keys: Keys) -> Result<Permitted<'r>, Refusal> {
        let found = if pending.decided.admission.has_trial() {
            let now = Instant::now();
            // Of the time that there is most is the call's own.
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
            // Which is denied, whatever the rules are.
            let mode = if result.is_ok() { Effect::Deny.observed() } else { Mode::Enforce.as_str() };
            pending.exchange.record.policy_mode = Some(mode);
        }
        result.map(|()| Permitted(pending))
    }

    /// Asks upstream, once in the sense of a call: reads are tried again as cancels are.
    async fn look_up(&self, pending: &mut Pending<'_>, deadline: Instant) -> Result<LookupResult, Refusal> {
        let view = pending.looked_up()?;
        let job = view.job().ok_or_else(|| Refusal::bug("a look-up of no job"))?;
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

/// What came of a look-up: an answer, or why there is none.
///
/// # Errors
/// Where it may not be asked now. That is not about the job.
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
    /// Decides by what was found.
    fn conclude(&self, pending: &mut Pending<'_>, found: LookupResult, keys: Keys) -> Result<(), Refusal> {
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

    /// What is decided without facts, and would have been with them is not known.
    fn conclude_unobserved(&self, pending: &mut Pending<'_>) -> Result<(), Refusal> {
        pending.decided.facts = None;
        self.ask(pending)
    }

    fn ask(&self, pending: &mut Pending<'_>) -> Result<(), Refusal> {
        let Pending { decided, project, exchange } = pending;
        let query = decided.query(project, &exchange.peer);
        self.authorize.conclude(&decided.decision_context.in_force.policy, &query, exchange.record)
    }
}

/// The facts that decided, as records tell them: `null` where the job has none, and nothing of those that are not known.
pub(super) fn recorded_values(facts: &Facts, keys: Keys, recorded: RecordedFacts) -> Option<Box<Value>> {
    let known = || keys.iter().filter_map(|key| Some((key, key.known_values(facts)?)));
    let told = match recorded {
        RecordedFacts::Names => known().map(|(key, _)| Value::from(key.as_str())).collect(),
        RecordedFacts::Values => {
            let member = |(key, values): (Key, Vec<&str>)| {
                let mut values =
                    values.into_iter().take(MAX_VALUES).map(|text| Value::from(bounded_bytes(text)));
                let value = match (key.has_several(), values.len()) {
                    (_, 0) => Value::Null,
                    (false, _) => values.next().unwrap_or_default(),
                    (true, _) => values.collect(),
                };
                (key.as_str().to_owned(), value)
            };
            Value::Object(known().map(member).collect())
        }
    };
    Some(Box::new(told))
}
