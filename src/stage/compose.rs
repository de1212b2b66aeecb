//! Composes the upstream request from the decision: [`Permitted`] → [`Composed`].
//!
//! It follows every decision and precedes `retry`, so a request is composed once and each [`Attempt`] sends the same. Only
//! three things come from the caller: job ids that match the grammar, a body that was judged and rewritten, and a valid
//! trace context.

use std::sync::Arc;

use http::{Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use tokio::time::Instant;

use super::{
    Permitted, Project, Refusal, Stage,
    authorize::PolicyQuery,
    exchange::Exchange,
    headers::JSON,
    pending::{Decided, Pending},
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};
use crate::{
    audit::{Record, Trail},
    editing::created,
    identity::Peer,
    operation::{Access, Jobs, Operation, Segment, Target},
    upstream::{ConnectionChoice, Outbound, UpstreamAnswer},
};

/// A request that is complete except for its credential.
pub struct Composed<'r> {
    /// Boxed, because it lives as long as the call and is handed on twice.
    pub(super) template: Box<RequestTemplate>,
    pub(super) record: &'r mut Record,
}

/// What each attempt sends, without the credential. Only this stage makes one.
pub(super) struct RequestTemplate {
    method: Method,
    uri: Uri,
    trace: Option<TraceContext>,
    project: Arc<Project>,
    peer: Arc<Peer>,
    deadline: Instant,
    decided: Decided,
    purpose: Purpose,
    largest_answer: usize,
}

/// Why a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is the caller's call.
    Call,
    /// It looks up facts that the decision on the call needs.
    Lookup,
}

/// One attempt at a composed request.
pub struct Attempt<'a> {
    pub(super) template: &'a RequestTemplate,
    pub(super) record: &'a mut Record,
    /// The connections it may use.
    pub(super) via: ConnectionChoice,
}

/// Builds upstream requests.
#[derive(Clone)]
pub struct Compose;

impl Composed<'_> {
    /// Returns the request without its credential.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn outbound(&self) -> Outbound {
        self.template.request()
    }
}

impl RequestTemplate {
    /// Returns the deadline of the caller's request.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the project, which has its endpoint and credential.
    pub(super) fn project(&self) -> &Project {
        &self.project
    }

    /// Returns the decision that permits it.
    pub(super) fn decided(&self) -> &Decided {
        &self.decided
    }

    /// Returns the call as the policy evaluates it.
    pub(super) fn query(&self) -> PolicyQuery<'_> {
        self.decided.query(&self.project, &self.peer)
    }

    /// Returns whether the caller's call reads or writes.
    pub(super) fn access(&self) -> Access {
        self.decided.target.operation().access
    }

    /// Whether executing it twice has the same effect as once.
    pub(super) fn is_idempotent(&self) -> bool {
        self.purpose == Purpose::Lookup || self.decided.target.operation().idempotent
    }

    /// Returns the job that was created according to this answer.
    pub(super) fn made(&self, answer: &UpstreamAnswer) -> Option<Segment> {
        let makes = self.purpose == Purpose::Call && *self.decided.target.jobs() == Jobs::ToBeMade;
        if makes { created(answer.status.as_u16(), &answer.body) } else { None }
    }

    /// Returns why it is sent.
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Returns the maximum size of its answer's body.
    pub(super) fn largest_answer(&self) -> usize {
        self.largest_answer
    }

    /// Returns the trail that notes its attempts.
    pub(super) fn trail<'t>(&self, record: &'t mut Record) -> &'t mut Trail {
        match self.purpose {
            Purpose::Call => &mut record.call,
            Purpose::Lookup => &mut record.lookup,
        }
    }

    /// Returns the body, which is signed.
    pub(super) fn body(&self) -> &[u8] {
        self.decided.job_spec.as_ref().map(|job_spec| &**job_spec.bytes()).unwrap_or_default()
    }

    /// Returns the request without its credential.
    pub(super) fn request(&self) -> Outbound {
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        if let Some(job_spec) = &self.decided.job_spec {
            *request.body_mut() = Full::new(job_spec.bytes().clone());
        }
        let headers = request.headers_mut();
        headers.clone_from(&self.project.headers);
        if self.decided.job_spec.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some(trace) = &self.trace {
            headers.insert(TRACEPARENT, trace.parent.clone());
            if let Some(state) = &trace.state {
                headers.insert(TRACESTATE, state.clone());
            }
        }
        request
    }
}

impl<'r> Stage<Permitted<'r>> for Compose {
    type After = Composed<'r>;

    fn check(&self, request: Permitted<'r>) -> Result<Composed<'r>, Refusal> {
        let (decided, project, exchange) = request.into_parts();
        let received = decided.target.operation();
        let operation =
            project.settings.cancel_form.and_then(|form| received.in_form(form)).unwrap_or(received);
        let (method, uri) = start(operation, &project, decided.target.jobs())?;
        let Exchange { peer, record, deadline, trace } = exchange;
        let (purpose, largest_answer) = (Purpose::Call, operation.largest_answer);
        let template =
            RequestTemplate { method, uri, trace, project, peer, deadline, decided, purpose, largest_answer };
        Ok(Composed { template: Box::new(template), record })
    }
}

impl Compose {
    /// Composes the view that looks up the jobs of a call, with this deadline. It comes from the same decision, and contains
    /// only the jobs of the call.
    pub(super) fn lookup<'w>(
        pending: &'w mut Pending<'_>,
        view: &Target,
        deadline: Instant,
    ) -> Result<Composed<'w>, Refusal> {
        Self::look(pending, view, Purpose::Lookup, deadline)
    }

    /// Composes the request of a view.
    pub(super) fn view<'w>(pending: &'w mut Pending<'_>) -> Result<Composed<'w>, Refusal> {
        let (view, deadline) = (pending.decided.target.clone(), pending.exchange.deadline);
        Self::look(pending, &view, Purpose::Call, deadline)
    }

    fn look<'w>(
        pending: &'w mut Pending<'_>,
        view: &Target,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Composed<'w>, Refusal> {
        let Pending { decided, project, exchange } = pending;
        let (method, uri) = start(view.operation(), project, view.jobs())?;
        let template = RequestTemplate {
            method,
            uri,
            trace: exchange.trace.clone(),
            project: Arc::clone(project),
            peer: Arc::clone(&exchange.peer),
            deadline,
            decided: decided.to_look(),
            purpose,
            largest_answer: view.operation().largest_answer,
        };
        Ok(Composed { template: Box::new(template), record: exchange.record })
    }
}

/// Returns the method and the target.
fn start(operation: &Operation, project: &Arc<Project>, jobs: &Jobs) -> Result<(Method, Uri), Refusal> {
    let method = Method::from_bytes(operation.method.as_bytes()).map_err(Refusal::bug)?;
    let uri = operation.render(&project.settings.id, jobs);
    Ok((method, Uri::try_from(uri).map_err(Refusal::bug)?))
}
