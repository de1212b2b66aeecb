//! Tries the credential of a project with one harmless call, on an operator's command.
//!
//! It is not part of the request path: it has no caller, so no policy decides it. Therefore it can only send one request, a
//! view of a job that cannot exist, once. It is lent the credential like any call, and its answer counts for the key's
//! health, the endpoint's clock and the circuit breaker.

use std::fmt;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Project, Refusal,
    answered::Timing,
    entrust::learn,
    forward::{log_circuit_change, root},
    outcome::{AttemptOutcome, Row},
    sign::CredentialHeaders,
    withhold::withhold,
};
use crate::{
    audit::bounded,
    clock::Skew,
    credential::{LeasedCredential, Verdict},
    limit::Cutoff,
    operation::{Jobs, Operation, Segment, Version},
    upstream::{Connected, ConnectionChoice, Outbound, SendError, UpstreamAnswer},
};

/// The result of trying a credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Whether upstream accepts it.
    pub accepted: Acceptance,
    /// Whether anything was sent.
    pub sent: bool,
    /// Whether it was signed with a key, which bad signatures lock.
    pub signed: bool,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Its error code.
    pub error_code: Option<String>,
    /// Why there was no answer.
    pub problem: Option<String>,
}

/// What an answer says about the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// It was checked and accepted.
    Yes,
    /// The signature is wrong.
    Refused,
    /// The signature's date is wrong by the endpoint's clock.
    Misdated,
    /// It has expired.
    Ended,
    /// The answer says nothing, or there is none.
    Unknown,
}

/// The request without its credential.
struct Query {
    request: Outbound,
    largest_answer: usize,
}

/// The result of the one attempt.
struct TrialOutcome {
    result: Result<UpstreamAnswer, SendError>,
    timing: Timing,
}

impl Trial {
    /// Tries the credential of a project with one call, unless the drain time-out is over.
    pub async fn of(project: &Project, cutoff: &Cutoff, deadline: Instant) -> Self {
        match attempt(project, cutoff, deadline).await {
            Ok(trial) => trial,
            Err(refusal) => Self {
                accepted: Acceptance::Unknown,
                sent: false,
                signed: false,
                status: None,
                error_code: None,
                problem: Some(refusal.to_string()),
            },
        }
    }

    fn ended(sent: &TrialOutcome, row: Row) -> Self {
        let signed = sent.timing.dated.is_some();
        let accepted = row.credential.into();
        match &sent.result {
            Ok(answer) => Self {
                accepted,
                sent: true,
                signed,
                status: Some(answer.status.as_u16()),
                error_code: answer.error_code().as_deref().map(bounded),
                problem: None,
            },
            Err(error) => {
                let problem = Some(with_root(error));
                Self { accepted, sent: !row.sent_nothing(), signed, status: None, error_code: None, problem }
            }
        }
    }
}

async fn attempt(project: &Project, cutoff: &Cutoff, deadline: Instant) -> Result<Trial, Refusal> {
    let Project { credential, upstream, .. } = project;
    let query = Query::new(project)?;
    let lease = credential.lease(deadline).await?;
    let permit = upstream.breaker().permit(Instant::now()).map_err(Refusal::CircuitOpen)?;
    // A pool of its own, because any thread may make this call.
    let alone = upstream.with_own_pool(0);
    let leased = lease.leased();
    let sent = match alone.connect(ConnectionChoice::Fresh, deadline).await {
        // There is no further wait.
        Ok(_) if cutoff.is_over() => return Err(Refusal::Draining),
        Ok(connected) => query.send(connected, &leased, upstream.clock()).await?,
        Err(error) => TrialOutcome { result: Err(error.into()), timing: Timing::default() },
    };
    let row = AttemptOutcome::of(&sent.result, sent.timing.dated).row();
    if let Some(change) = permit.end(row.upstream, Instant::now()) {
        log_circuit_change(change, upstream.name(), &sent.result);
    }
    // A failed attempt drops its lease, because it says nothing about the signature.
    if let Ok(answer) = &sent.result {
        learn(upstream.clock(), answer, sent.timing, row.credential);
        credential.answered(lease, row.credential);
    }
    Ok(Trial::ended(&sent, row))
}

impl Query {
    fn new(project: &Project) -> Result<Self, Refusal> {
        let view = Operation::view(Version::V1).ok_or_else(|| Refusal::bug("no view"))?;
        let job = Segment::parse(NO_JOB).ok_or_else(|| Refusal::bug(NO_JOB))?;
        let uri = view.render(&project.settings.id, &Jobs::One(job));
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = Method::from_bytes(view.method.as_bytes()).map_err(Refusal::bug)?;
        *request.uri_mut() = Uri::try_from(uri).map_err(Refusal::bug)?;
        request.headers_mut().clone_from(&project.headers);
        Ok(Self { request, largest_answer: view.largest_answer })
    }

    async fn send(
        self,
        connected: Connected<'_>,
        leased: &LeasedCredential,
        clock: &Skew,
    ) -> Result<TrialOutcome, Refusal> {
        let (Self { mut request, largest_answer }, started) = (self, Instant::now());
        let signed = CredentialHeaders::add(&mut request, &[], leased, clock)?;
        let mut result = connected.send(Box::new(request), largest_answer).await;
        if let Ok(answer) = &mut result {
            withhold(answer, leased.credential(), signed.signature.as_deref());
        }
        let timing = Timing { dated: signed.dated, elapsed: started.elapsed() };
        Ok(TrialOutcome { result, timing })
    }
}

fn with_root(error: &SendError) -> String {
    let (told, root) = (error.to_string(), root(error).to_string());
    if told.ends_with(&root) { told } else { format!("{told}: {root}") }
}

impl From<Verdict> for Acceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self::Yes,
            Verdict::Refused => Self::Refused,
            Verdict::Misdated => Self::Misdated,
            Verdict::Ended => Self::Ended,
            Verdict::Nothing => Self::Unknown,
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.accepted, self.status) {
            (Acceptance::Yes, _) => "upstream accepts the credential",
            (Acceptance::Refused, _) => "upstream rejects the credential's signature",
            (Acceptance::Misdated, _) => "upstream rejected the signature's date; the key was not tested",
            (Acceptance::Ended, _) => "upstream reports that the credential has expired",
            (Acceptance::Unknown, Some(_)) => {
                "upstream's answer does not show whether the credential is accepted"
            }
            (Acceptance::Unknown, None) if self.sent => "a call was sent, and got no answer",
            (Acceptance::Unknown, None) => "no call was sent",
        })?;
        match (self.status, &self.error_code, &self.problem) {
            (Some(status), Some(code), _) => write!(f, " ({status} {code})"),
            (Some(status), None, _) => write!(f, " ({status})"),
            (None, _, Some(problem)) => write!(f, ": {problem}"),
            (None, _, None) => Ok(()),
        }
    }
}

/// An id that cannot exist: the cloud's have only digits and letters.
const NO_JOB: &str = "no-such-job";
