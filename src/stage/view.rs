//! Filters views by policy: the view is sent, and each job in the answer is decided by its facts there.
//!
//! Like `lookup` it follows every decision that needs no facts, and wraps the stages that act. The caller's answer is built
//! from the permitted jobs only. A hidden job looks like one that does not exist.

use bytes::Bytes;
use foldhash::{HashMap, HashSet};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, DATE},
};

use super::{
    Compose, Composed, Delivered, LookupLayer, Refusal, Service,
    authorize::{missing, note},
    pending::Pending,
    recorded::recorded_values,
    response::REQUEST_ID,
    rules::seen,
    viewing::Viewing,
};
use crate::{
    audit::Record,
    editing::{AnswerError, Answered, Viewed, ViewedJob, nothing},
    metrics::LookupOutcome,
    operation::{Jobs, Segment},
    policy::{Effect, Facts, Outcome, Policy},
    reason::Reason,
};

/// Facts of jobs from another version's answer. `None` if the view's own answer has all.
type KnownFacts = Option<HashMap<Segment, Facts>>;

/// The jobs of an answer, with their facts from another version.
#[derive(Clone, Copy)]
struct FoundJobs<'j> {
    viewed: &'j Viewed,
    known: &'j KnownFacts,
}

/// The decisions on the jobs of an answer.
#[derive(Default)]
struct JobDecisions<'j, 'p> {
    shown: Vec<Outcome<'p>>,
    hidden: Vec<Outcome<'p>>,
    permitted: HashSet<&'j Segment>,
    /// How many do not exist in the other version's answer.
    absent: usize,
}

impl LookupLayer {
    /// Sends a view, and returns the answer with the permitted jobs.
    pub(super) async fn view<S>(&self, act: &S, mut viewing: Viewing<'_>) -> Result<Delivered, Refusal>
    where
        S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
    {
        let known = if viewing.is_looked_up_first {
            Some(self.look_up_all(act, &mut viewing.pending).await?)
        } else {
            None
        };
        let mut delivered = act.call(viewing.composed()?).await?;
        // It concerns cancels that may have been executed; for a view it has no meaning.
        delivered.after_stale = false;
        self.show(&mut viewing, &known, &mut delivered)?;
        Ok(delivered)
    }

    /// Looks up the facts of all jobs of a view with another version.
    async fn look_up_all<S>(
        &self,
        act: &S,
        pending: &mut Pending<'_>,
    ) -> Result<HashMap<Segment, Facts>, Refusal>
    where
        S: for<'a> Service<Composed<'a>, Response = Delivered, Error = Refusal> + Sync,
    {
        let (view, deadline) = (pending.looked_up()?, pending.exchange.deadline);
        let answered = act.call(Compose::lookup(pending, &view, deadline)?).await;
        let found = match seen(answered, &view)? {
            Ok(Answered::Jobs(viewed)) if !viewed.is_incomplete() => {
                let facts = viewed.jobs().iter().map(|job| (job.id().clone(), job.facts().clone()));
                Ok(facts.collect())
            }
            Ok(Answered::Jobs(_)) => Err(Reason::LookupMalformed),
            Ok(Answered::NoSuchJob) => Ok(HashMap::default()),
            Ok(Answered::Unknown(doubt)) => Err(doubt.reason()),
            Err(reason) => Err(reason),
        };
        self.metrics.looked_up(if found.is_ok() { LookupOutcome::Facts } else { LookupOutcome::Unknown });
        found.map_err(Refusal::LookupFailed)
    }

    /// Replaces the answer with its permitted part. An answer without jobs stays as it is.
    fn show(
        &self,
        viewing: &mut Viewing<'_>,
        known: &KnownFacts,
        delivered: &mut Delivered,
    ) -> Result<(), Refusal> {
        let target = &viewing.pending.decided.target;
        let (version, jobs) = (target.operation().version, target.jobs());
        let answer = &mut delivered.answer;
        let body = match Answered::read(target, answer.status.as_u16(), &answer.body) {
            Answered::Jobs(viewed) => self.permitted(viewing, FoundJobs { viewed: &viewed, known })?,
            Answered::NoSuchJob if viewing.keys.is_empty() => return Ok(()),
            // It looks like a hidden job.
            Answered::NoSuchJob if matches!(jobs, Jobs::One(_)) => {
                let record = &mut *viewing.pending.exchange.record;
                (record.effect, record.view_hidden) = (Some(Effect::Deny.as_str()), Some(0));
                answer.status = http::StatusCode::OK;
                nothing(version).into()
            }
            Answered::NoSuchJob => return Err(Refusal::Unreadable(Reason::LookupStatus)),
            Answered::Unknown(AnswerError::Status(status)) if status >= 400 => return Ok(()),
            Answered::Unknown(doubt) => return Err(Refusal::Unreadable(doubt.reason())),
        };
        answer.headers = described_anew(&answer.headers);
        answer.body = Bytes::from(body);
        Ok(())
    }

    /// Returns the answer with the jobs that the policy in force permits.
    fn permitted(&self, viewing: &mut Viewing<'_>, found: FoundJobs<'_>) -> Result<Vec<u8>, Refusal> {
        let viewed = found.viewed;
        let in_force = self.in_force.load_full();
        let Viewing { pending, keys, .. } = viewing;
        let decisions = self.decide_each(&in_force.policy, pending, found)?;
        let caller = pending.decided.decision_context.identity.caller();
        let stamp = Some(caller.as_str()).filter(|_| pending.project.settings.stamp_owner);
        let mut body = viewed.show(|job| decisions.permitted.contains(job.id()), stamp);
        // Its reservation is reduced to its length.
        body.shrink_to_fit();
        let (target, record) = (&pending.decided.target, &mut *pending.exchange.record);
        if let Some(outcome) = decisions.recorded_outcome() {
            note(&in_force.policy, outcome, record);
        }
        decisions.record(record);
        let waits = !keys.is_empty();
        match (viewed.jobs(), target.jobs()) {
            ([job], Jobs::One(_)) if waits => {
                record.facts =
                    found.facts(job).and_then(|facts| recorded_values(facts, *keys, self.recorded));
            }
            (jobs, Jobs::List(_)) => {
                let shown = jobs.iter().map(ViewedJob::id).filter(|id| decisions.permitted.contains(id));
                record.job_ids = shown.map(|id| id.as_str().to_owned()).collect();
            }
            _ => {}
        }
        if decisions.recorded_outcome().is_none() && waits {
            // None of the jobs exists.
            record.effect = Some(Effect::Deny.as_str());
        }
        Ok(body)
    }

    /// Decides each job of an answer by its facts. In a list, jobs that cannot be decided are hidden.
    fn decide_each<'j, 'p>(
        &self,
        policy: &'p Policy,
        pending: &Pending<'_>,
        found: FoundJobs<'j>,
    ) -> Result<JobDecisions<'j, 'p>, Refusal> {
        let query = pending.query();
        let is_list = matches!(query.target.jobs(), Jobs::List(_));
        let mut decisions = JobDecisions::default();
        for job in found.viewed.jobs() {
            let Some(facts) = found.facts(job) else {
                decisions.absent += 1;
                continue;
            };
            let call = query.about(Some(job.id()), facts, pending.exchange.record);
            let outcome = self.authorize.of_job(policy, &call);
            match outcome.applied() {
                Some(Effect::Allow) => {
                    decisions.permitted.insert(job.id());
                    decisions.shown.push(outcome);
                }
                None if !is_list => {
                    return Err(Refusal::Undecided(missing(outcome.needed_facts(), Some(facts))));
                }
                Some(Effect::Deny) | None => decisions.hidden.push(outcome),
            }
        }
        Ok(decisions)
    }
}

impl<'j> FoundJobs<'j> {
    fn facts(self, job: &'j ViewedJob) -> Option<&'j Facts> {
        self.known.as_ref().map_or(Some(job.facts()), |known| known.get(job.id()))
    }
}

impl<'p> JobDecisions<'_, 'p> {
    /// Returns the outcome for the record: the one that permits the jobs shown or, if none are, the one that hides them.
    fn recorded_outcome(&self) -> Option<&Outcome<'p>> {
        self.shown.first().or(self.hidden.first())
    }

    /// Records how many jobs are hidden, and the rule unless several decided.
    fn record(&self, record: &mut Record) {
        record.view_hidden = Some(self.hidden.len() + self.absent);
        let alike = if self.shown.is_empty() { &self.hidden } else { &self.shown };
        let rule = |outcome: &Outcome<'p>| Some(outcome.decision()?.rule?.location.line);
        let mut rules = alike.iter().map(rule);
        let first = rules.next();
        if rules.any(|rule| Some(rule) != first) {
            (record.rule, record.location, record.policy_reason) = (None, None, None);
        }
    }
}

/// Removes the headers that describe the original body.
fn described_anew(headers: &HeaderMap) -> HeaderMap {
    let kept = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
    let mut anew: HeaderMap = [kept(REQUEST_ID), kept(DATE)].into_iter().flatten().collect();
    anew.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    anew
}
