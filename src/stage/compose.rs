//! What goes upstream? [`Admitted`] → [`Composed`]: a new request, built from the decision.
//!
//! It stands behind every decision and before `retry`, so a request is composed once and each attempt sends the same.
//! Nothing here comes from the caller but the job id, which obeys the grammar, and a valid trace context.

use std::sync::Arc;

use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, HOST, USER_AGENT},
};
use http_body_util::Full;
use tower::{BoxError, filter::Predicate};

use super::{Admitted, Exchange, Project, authorize::Question, limit::Decided};
use crate::{
    config::ProjectHeader,
    credential::{Held, Lent},
    upstream::{Outbound, Upstream, Use},
};

/// A request that is complete but for its credential. Cheap to clone: one for each attempt.
#[derive(Clone)]
pub struct Composed {
    method: Method,
    uri: Uri,
    project: Arc<Project>,
    via: Use,
    exchange: Exchange,
    decided: Arc<Decided>,
}

/// Builds upstream requests.
#[derive(Clone)]
pub struct Compose;

impl Composed {
    /// The same request, to be sent on a connection that was never used.
    pub(super) fn on_a_fresh_connection(mut self) -> Self {
        self.via = Use::Fresh;
        self
    }

    pub(super) fn credential(&self) -> &Arc<Held> {
        &self.project.credential
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Which connection it may use.
    pub(super) fn via(&self) -> Use {
        self.via
    }

    /// Why it may be sent.
    pub(super) fn decided(&self) -> &Decided {
        &self.decided
    }

    /// What a policy is asked about it.
    pub(super) fn question(&self) -> Question<'_> {
        let Decided { target, decider, .. } = &*self.decided;
        Question { target, project: &self.project, identity: &decider.identity, exchange: &self.exchange }
    }

    /// Notes which credential it is to be signed with.
    pub(super) fn note_credential(&self, lent: &Lent) {
        let mut record = self.exchange.trail.note();
        record.credential = Some(Arc::clone(self.project.credential.name()));
        record.key_hint = lent.credential().key_hint().map(str::to_owned);
    }

    /// Where it goes.
    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.project.upstream
    }

    /// The request without its credential, and what is needed to add that and to send it.
    pub(super) fn into_parts(self) -> (Outbound, Arc<Project>, Exchange) {
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        let headers = request.headers_mut();
        headers.reserve(12);
        headers.insert(HOST, self.project.host.clone());
        headers.insert(USER_AGENT, OURSELVES);
        headers.insert(ACCEPT, JSON);
        let names = self.project.settings.project_header;
        if names != ProjectHeader::Underscore {
            headers.insert(PROJECT_ID, self.project.id.clone());
        }
        if names != ProjectHeader::Hyphen {
            headers.insert(PROJECT_UNDERSCORE_ID, self.project.id.clone());
        }
        if let Some(trace) = &self.exchange.trace {
            headers.insert(TRACEPARENT, trace.parent.clone());
            if let Some(state) = &trace.state {
                headers.insert(TRACESTATE, state.clone());
            }
        }
        (request, self.project, self.exchange)
    }
}

impl Predicate<Admitted> for Compose {
    type Request = Composed;

    fn check(&mut self, request: Admitted) -> Result<Composed, BoxError> {
        let (decided, project, exchange) = request.into_parts();
        let received = decided.target.operation();
        let operation =
            project.settings.cancel_form.and_then(|form| received.in_form(form)).unwrap_or(received);
        let method = Method::from_bytes(operation.method.as_bytes())?;
        let uri = Uri::try_from(operation.render(&project.settings.id, decided.target.job()))?;
        Ok(Composed { method, uri, project, via: Use::Pooled, exchange, decided: Arc::new(decided) })
    }
}

/// The documentation's spelling is `X-Project_Id`, the SDKs' is `X-Project-Id`; only the latter is signed.
pub(super) const PROJECT_ID: HeaderName = HeaderName::from_static("x-project-id");
const PROJECT_UNDERSCORE_ID: HeaderName = HeaderName::from_static("x-project_id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
