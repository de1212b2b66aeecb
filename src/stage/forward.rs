//! Makes one attempt: [`Entrusted`] → [`Answered`].
//!
//! This is the innermost stage. It finds a connection, announces the call if configured, has it cleared and signed right
//! before its first byte, and notes the result on the trail. While the circuit breaker is open it makes no attempt.

use std::{error::Error, mem::replace, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Attempt, Clearance, Entrusted, Refusal, Service, Signed,
    answered::{Answered, Timing},
    compose::Purpose,
    outcome::AttemptOutcome,
    response::REQUEST_ID,
    withhold::withhold,
};
use crate::{
    audit::{Blocked, Sink, Trail, bounded},
    chain::in_words,
    credential::LeasedCredential,
    limit::ByteBudget,
    log::LIMITED,
    metrics::Metrics,
    operation::Access,
    upstream::{CircuitChange, Connected, ConnectionChoice, SendError, UpstreamAnswer},
};

/// Sends requests.
pub struct Forward {
    room: ByteBudget,
    sink: Sink,
    metrics: Arc<Metrics>,
    clearance: Clearance,
}

/// The result of sending a request.
struct SendOutcome {
    result: Result<UpstreamAnswer, SendError>,
    timing: Timing,
    signature: Option<Box<[u8]>>,
}

impl Forward {
    /// Announces requests in `sink`, sends them once they are cleared and memory for their answers is reserved, and measures
    /// upstream.
    pub fn new(room: ByteBudget, sink: Sink, metrics: Arc<Metrics>, clearance: Clearance) -> Self {
        Self { room, sink, metrics, clearance }
    }
}

impl<'a> Service<Entrusted<'a>> for Forward {
    type Response = Answered;
    type Error = Refusal;

    async fn call(&self, request: Entrusted<'a>) -> Result<Answered, Refusal> {
        let Entrusted { attempt: Attempt { template, record, via }, leased } = request;
        self.clearance.check(template, record)?;
        let (upstream, deadline) = (&template.project().upstream, template.deadline());
        let patience = ANSWER_ROOM_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let mut room =
            self.room.take(template.largest_answer(), patience).await.ok_or(Refusal::Overloaded)?;
        let started = Instant::now();
        let permit = upstream.breaker().permit(started).map_err(Refusal::CircuitOpen)?;
        // A probe must not use a connection from before the failure.
        let via = if permit.is_probe() { ConnectionChoice::Fresh } else { via };
        template.trail(record).attempts += 1;
        let sent = match upstream.connect(via, deadline).await {
            Ok(connected) => {
                let attempt = Attempt { template, record: &mut *record, via };
                match self.send(connected, attempt, &leased).await {
                    Ok(sent) => sent,
                    Err(refusal) => {
                        // Nothing was sent, so it does not count as an attempt.
                        template.trail(record).attempts -= 1;
                        return Err(refusal);
                    }
                }
            }
            Err(error) => {
                SendOutcome { result: Err(error.into()), timing: Timing::default(), signature: None }
            }
        };
        let elapsed = started.elapsed();
        *template.trail(record).duration.get_or_insert_default() += elapsed;
        self.metrics.attempted(elapsed);
        let ending = AttemptOutcome::of(&sent.result, sent.timing.dated);
        let (row, undone) = (ending.row(), ending.is_surely_undone());
        if let Some(change) = permit.end(row.upstream, started + elapsed) {
            log_circuit_change(change, upstream.name(), &sent.result);
        }
        if let Some(kind) = row.counted {
            self.metrics.attempt_failed(kind);
        }
        if let Err(error) = &sent.result {
            let reason = row.refusal.map(|refusal| refusal.reason.as_str());
            tracing::warn!(target: LIMITED, endpoint = %upstream.name(), reason, error = in_words(root(error)), "{error}");
        }
        match sent.result {
            Ok(mut answer) => {
                withhold(&mut answer, leased.credential(), sent.signature.as_deref());
                note(template.trail(record), Some(&answer));
                if let Some(job) = template.made(&answer) {
                    record.job_id = Some(job.as_str().to_owned());
                }
                room.shrink(answer.body.len());
                Ok(Answered { answer, room, row, undone, timing: sent.timing })
            }
            Err(error) => {
                // It supersedes the answer to an earlier attempt.
                if !row.sent_nothing() {
                    note(template.trail(record), None);
                }
                Err(error.into())
            }
        }
    }
}

impl Forward {
    /// Announces the call once everything else is ready, has it cleared and signed, and sends it.
    async fn send(
        &self,
        connected: Connected<'_>,
        attempt: Attempt<'_>,
        leased: &LeasedCredential,
    ) -> Result<SendOutcome, Refusal> {
        let Attempt { template, record, .. } = attempt;
        let announced = match (template.purpose(), template.access()) {
            (Purpose::Call, Access::Write) => self.sink.announce(record).await,
            (Purpose::Call, Access::Read) | (Purpose::Lookup, _) => Ok(Sink::announce_nothing()),
        };
        let announced = announced.map_err(|Blocked| Refusal::AuditBlocked)?;
        // There is no further wait.
        let signed = Signed::new(self.clearance.clear(template, record)?, leased)?;
        let (dated, started) = (signed.dated(), Instant::now());
        let (request, signature) = signed.open(announced);
        // From here on the outcome is unknown, however this ends.
        let before = replace(&mut template.trail(record).maybe_sent, true);
        let result = connected.send(request, template.largest_answer()).await;
        if result.as_ref().is_err_and(|error| AttemptOutcome::Failed(error).row().sent_nothing()) {
            template.trail(record).maybe_sent = before;
        }
        Ok(SendOutcome { result, timing: Timing { dated, elapsed: started.elapsed() }, signature })
    }
}

/// Logs that a circuit opened, with the reason, or that it closed.
pub(super) fn log_circuit_change(
    change: CircuitChange,
    endpoint: &str,
    result: &Result<UpstreamAnswer, SendError>,
) {
    let last = match result {
        Ok(answer) => answer.status.to_string(),
        Err(error) => in_words(root(error)),
    };
    match change {
        CircuitChange::Opened => tracing::warn!(
            target: LIMITED,
            endpoint,
            last,
            "circuit breaker opened: upstream keeps failing; calls are refused, except for a few probes"
        ),
        CircuitChange::Closed => {
            tracing::info!(target: LIMITED, endpoint, last, "circuit breaker closed: upstream is back");
        }
    }
}

pub(super) fn root<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    error.source().map_or(error, root)
}

fn note(trail: &mut Trail, answer: Option<&UpstreamAnswer>) {
    trail.status = answer.map(|answer| answer.status.as_u16());
    let id = answer.and_then(|answer| answer.headers.get(REQUEST_ID)?.to_str().ok());
    trail.request_id = id.map(bounded);
    trail.error_code = answer.and_then(UpstreamAnswer::error_code).as_deref().map(bounded);
}

/// How long a call waits for the memory of its answer.
const ANSWER_ROOM_TIMEOUT: Duration = Duration::from_secs(1);
