//! Whose job is it? [`Admitted`] → [`Permitted`]: what a decision waits for is looked up, and then it is made.
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
    Admitted, Authorize, Compose, Composed, Delivered, Exchange, InForce, Project, Refusal, Service, Stage,
    authorize::Question, ending::Ending, limit::Decided,
};
use crate::{
    audit::{RecordedFacts, bounded_bytes},
    config::LookupForm,
    editing::{Answered, Lookup},
    metrics::{LookedUp, Metrics},
    operation::{Operation, Target, Version},
    policy::{Effect, Facts, Key, Keys, Mode, Wants},
    reason::Reason,
};

/// A request that the policy allows, by all that it asks for.
pub struct Permitted<'r> {
    decided: Decided,
    project: Arc<Project>,
    exchange: Exchange<'r>,
}

/// A request that cannot be decided before its job is looked up. It can be composed by nobody.
pub struct Waiting<'r> {
    decided: Decided,
    project: Arc<Project>,
    exchange: Exchange<'r>,
    wants: Wanted,
}

/// Whether a request that is within its limits waits for facts.
pub enum Settled<'r> {
    /// It does not.
    Permitted(Permitted<'r>),
    /// It does.
    Waiting(Waiting<'r>),
}

/// What a job is looked up for.
#[derive(Clone, Copy)]
enum Wanted {
    /// Without these nothing is allowed.
    ToDecide(Keys),
    /// To say what would have been decided by these. It changes nothing of what is done.
    ToObserve(Keys),
}

/// What a look-up came to.
enum Found {
    Facts(Box<Facts>),
    Absent,
    Unknown(Reason),
}

/// Wraps the stages that act in [`LookupStage`].
#[derive(Clone)]
pub struct LookupLayer {
    in_force: Arc<ArcSwap<InForce>>,
    authorize: Authorize,
    metrics: Arc<Metrics>,
    recorded: RecordedFacts,
}

/// Looks jobs up.
pub struct LookupStage<S> {
    act: S,
    rules: LookupLayer,
}

impl LookupLayer {
    /// Decides by the policy that is in force when the facts are there, and records them so.
    pub fn new(
        in_force: Arc<ArcSwap<InForce>>,
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

impl<'r> Settled<'r> {
    /// Whether it waits.
    pub fn of(admitted: Admitted<'r>) -> Self {
        let (decided, project, exchange, wants) = admitted.into_parts();
        let wants = match wants {
            Wants::Nothing => return Self::Permitted(Permitted { decided, project, exchange }),
            Wants::ToDecide(keys) => Wanted::ToDecide(keys),
            Wants::ToObserve(keys) => Wanted::ToObserve(keys),
        };
        Self::Waiting(Waiting { decided, project, exchange, wants })
    }
}

impl<'r> Permitted<'r> {
    pub(super) fn into_parts(self) -> (Decided, Arc<Project>, Exchange<'r>) {
        (self.decided, self.project, self.exchange)
    }
}

impl<'r> Waiting<'r> {
    /// The call that views its job, in the form that its project says.
    pub(super) fn view(&self) -> Option<Target> {
        let version = match self.project.settings.lookup_form {
            LookupForm::V1 => Version::V1,
            LookupForm::V2 => Version::V2,
        };
        self.decided.target.viewed_by(Operation::view(version)?)
    }

    pub(super) fn parts(&mut self) -> (&Decided, &Arc<Project>, &mut Exchange<'r>) {
        (&self.decided, &self.project, &mut self.exchange)
    }

    fn permitted(self) -> Permitted<'r> {
        Permitted { decided: self.decided, project: self.project, exchange: self.exchange }
    }
}

impl<'r, S> Service<Admitted<'r>> for LookupStage<S>
where
    S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
{
    type Response = Delivered;
    type Error = Refusal;

    async fn call(&self, request: Admitted<'r>) -> Result<Delivered, Refusal> {
        let permitted = match Settled::of(request) {
            Settled::Permitted(permitted) => permitted,
            // In a box, because most calls wait for nothing, and all would have the room for it.
            Settled::Waiting(waiting) => Box::pin(self.settle(waiting)).await?,
        };
        let composed = Compose.check(permitted)?;
        self.act.call(composed).await
    }
}

impl<S> LookupStage<S>
where
    S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
{
    async fn settle<'r>(&self, waiting: Waiting<'r>) -> Result<Permitted<'r>, Refusal> {
        match waiting.wants {
            Wanted::ToDecide(keys) => self.decide(waiting, keys).await,
            Wanted::ToObserve(keys) => self.observe(waiting, keys).await,
        }
    }

    /// Looks the job up, and decides by what is found and the policy in force.
    async fn decide<'r>(&self, mut waiting: Waiting<'r>, keys: Keys) -> Result<Permitted<'r>, Refusal> {
        let deadline = waiting.exchange.deadline;
        let result = match self.look_up(&mut waiting, deadline).await {
            Ok(found) => {
                waiting.decided.decider.in_force = self.rules.in_force.load_full();
                self.rules.conclude(&mut waiting, found, keys)
            }
            Err(refusal) => Err(refusal),
        };
        let Decided { decider, admission, .. } = &waiting.decided;
        if let Err(Refusal::DeniedByFacts(_)) = &result {
            decider.in_force.limiter.lookup_denied(decider.identity.caller());
        }
        if result.is_err() {
            admission.give_back();
        }
        result.map(|()| waiting.permitted())
    }

    /// Looks the job up to tell what would have been decided, where that takes not too much. Whatever comes of it, the
    /// call is as allowed, or as denied, as it was: the same policy decides.
    async fn observe<'r>(&self, mut waiting: Waiting<'r>, keys: Keys) -> Result<Permitted<'r>, Refusal> {
        let found = if waiting.decided.admission.has_trial() {
            let now = Instant::now();
            // Of the time that there is most is the call's own.
            let deadline = now + waiting.exchange.deadline.saturating_duration_since(now) / 4;
            self.look_up(&mut waiting, deadline).await.unwrap_or(Found::Unknown(Reason::LookupStatus))
        } else {
            Found::Unknown(Reason::FactNotLookedUp)
        };
        let is_absent = matches!(found, Found::Absent);
        let result = match found {
            Found::Unknown(_) | Found::Absent => self.rules.conclude_unobserved(&mut waiting),
            found @ Found::Facts(_) => self.rules.conclude(&mut waiting, found, keys),
        };
        if is_absent {
            // Which is denied, whatever the rules are.
            let mode = if result.is_ok() { Effect::Deny.observed() } else { Mode::Enforce.as_str() };
            waiting.exchange.record.policy_mode = Some(mode);
        }
        result.map(|()| waiting.permitted())
    }

    /// Asks upstream, once in the sense of a call: reads are tried again as cancels are.
    async fn look_up(&self, waiting: &mut Waiting<'_>, deadline: Instant) -> Result<Found, Refusal> {
        let view = waiting.view().ok_or_else(|| Refusal::bug("a call of which no job can be looked up"))?;
        let answered = self.act.call(Compose::lookup(waiting, deadline)?).await;
        let found = match answered {
            Ok(Delivered { answer, .. }) => {
                let answered = Answered::read(&view, answer.status.as_u16(), &answer.body);
                let job = view.job().ok_or_else(|| Refusal::bug("a look-up of no job"))?;
                match answered.into_lookup(job) {
                    Lookup::Facts(facts) => Found::Facts(Box::new(facts)),
                    Lookup::Absent => Found::Absent,
                    Lookup::Unknown(doubt) => Found::Unknown(doubt.reason()),
                }
            }
            Err(Refusal::Upstream(error)) => {
                let reason = Ending::Failed(&error).row().refusal.map(|refusal| refusal.reason);
                Found::Unknown(reason.unwrap_or(Reason::LookupStatus))
            }
            // That it may not be asked now is not about the job.
            Err(refusal) => return Err(refusal),
        };
        self.rules.metrics.looked_up(match &found {
            Found::Facts(_) => LookedUp::Facts,
            Found::Absent => LookedUp::Absent,
            Found::Unknown(_) => LookedUp::Unknown,
        });
        Ok(found)
    }
}

impl LookupLayer {
    /// Decides by what was found.
    fn conclude(&self, waiting: &mut Waiting<'_>, found: Found, keys: Keys) -> Result<(), Refusal> {
        let facts = match found {
            Found::Facts(facts) => facts,
            Found::Absent => {
                let policy = &waiting.decided.decider.in_force.policy;
                return self.authorize.conclude_absent(policy, waiting.exchange.record);
            }
            Found::Unknown(reason) => return Err(Refusal::LookupFailed(reason)),
        };
        waiting.exchange.record.facts = told(&facts, keys, self.recorded);
        waiting.decided.facts = Some(facts);
        self.ask(waiting)
    }

    /// What is decided without facts, and would have been with them is not known.
    fn conclude_unobserved(&self, waiting: &mut Waiting<'_>) -> Result<(), Refusal> {
        waiting.decided.facts = None;
        self.ask(waiting)
    }

    fn ask(&self, waiting: &mut Waiting<'_>) -> Result<(), Refusal> {
        let Decided { target, decider, facts, .. } = &waiting.decided;
        let question = Question {
            target,
            project: &waiting.project,
            identity: &decider.identity,
            peer: &waiting.exchange.peer,
            facts: facts.as_deref(),
        };
        self.authorize.conclude(&decider.in_force.policy, &question, waiting.exchange.record)
    }
}

/// The facts that decided, as records tell them: `null` where the job has none, and nothing of those that are not known.
fn told(facts: &Facts, keys: Keys, recorded: RecordedFacts) -> Option<Box<Value>> {
    let known = || keys.iter().filter_map(|key| Some((key, key.told(facts)?)));
    let told = match recorded {
        RecordedFacts::Names => known().map(|(key, _)| Value::from(key.as_str())).collect(),
        RecordedFacts::Values => {
            let member = |(key, values): (Key, Vec<&str>)| {
                let mut values =
                    values.into_iter().take(MOST_VALUES).map(|text| Value::from(bounded_bytes(text)));
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

/// Of one fact in a record: a line is bounded.
const MOST_VALUES: usize = 16;
