//! The request path: one `ServiceBuilder`, read from top to bottom.
//!
//! The compiler enforces the order: each stage takes the type that only the stage before it can make.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arc_swap::ArcSwap;
use http::Response;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

use crate::{
    audit::{Recent, RecordedFacts, Sink},
    config::{Limits, UpstreamSettings},
    limit::{ByteBudget, Cutoff, Freeze},
    metrics::Metrics,
    stage::{
        ActivePolicy, Arrival, Audit, AuditLayer, Authenticate, Authorize, Body, Clearance, ConcurrencyLimit,
        ConcurrencyLimitLayer, Decide, Entrust, EntrustLayer, ExpectedBody, Forward, Limit, LookupLayer,
        LookupStage, Precheck, Project, Receive, Refusal, Respond, RespondLayer, Retry, RetryLayer, Route,
        Service, StageLayer, Staged,
    },
};

/// The request path: an [`Arrival`] in, an answer out, and nothing else can come of it.
pub type Path = Audit<Respond<ConcurrencyLimit<Staged<Decide, LookupStage<Retry<Entrust<Forward>>>>>>>;

/// The request path, and the precheck that decides whether to read a body. Clones share both.
#[derive(Clone)]
pub struct Stack(Arc<(Precheck, Path)>);

impl Stack {
    /// Returns how many bytes of the body to read.
    ///
    /// # Errors
    /// The refusal, which takes the place of the body in the request.
    pub fn precheck(&self, expected: &ExpectedBody<'_>) -> Result<usize, Refusal> {
        // A panic becomes a refusal here, too, so that it is recorded.
        catch_unwind(AssertUnwindSafe(|| self.0.0.check(expected))).unwrap_or(Err(Refusal::Internal))
    }
}

impl Service<Arrival> for Stack {
    type Response = Response<Body>;
    type Error = Infallible;

    fn call(&self, arrival: Arrival) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        self.0.1.call(arrival)
    }
}

/// The dependencies of the stages.
#[derive(Clone)]
pub struct Parts {
    /// The callers and the policy in force.
    pub in_force: Arc<ArcSwap<ActivePolicy>>,
    /// The configured projects.
    pub projects: Vec<Arc<Project>>,
    /// The audit sink.
    pub sink: Sink,
    /// Which facts of jobs are recorded.
    pub recorded_facts: RecordedFacts,
    /// The latest records.
    pub recent: Arc<Recent>,
    /// Who is frozen.
    pub freeze: Freeze,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// This machine's name, a part of request ids.
    pub hostname: Arc<str>,
    /// Whether the drain time-out is over.
    pub cutoff: Cutoff,
}

/// The limits that all stacks of a process share.
#[derive(Clone)]
pub struct Capacity {
    /// A permit for each call in flight.
    pub in_flight: Arc<Semaphore>,
    /// Memory for upstream's answers.
    pub room: ByteBudget,
}

/// Builds a stack.
pub fn build(limits: &Limits, upstream: &UpstreamSettings, capacity: Capacity, parts: Parts) -> Stack {
    let Parts { in_force, projects, sink, recorded_facts, recent, freeze, metrics, hostname, cutoff } = parts;
    let authorize = Authorize::new(Arc::clone(&metrics));
    let clearance = Clearance::new(Arc::clone(&in_force), authorize.clone(), freeze.clone(), cutoff);
    let lookup =
        LookupLayer::new(Arc::clone(&in_force), authorize.clone(), Arc::clone(&metrics), recorded_facts);
    let decide = Decide {
        receive: Receive::new(limits.request_deadline),
        authenticate: Authenticate::new(in_force),
        route: Route::new(&projects, recorded_facts),
        authorize,
        limit: Limit::new(freeze, Arc::clone(&metrics)),
    };
    let precheck = Precheck::new(decide.clone(), sink.clone(), limits.body_bytes);
    let path = ServiceBuilder::new()
        // Observe: exactly one record per request, and the one map from errors to answers.
        .layer(AuditLayer::new(sink.clone(), recent, Arc::clone(&metrics), hostname))
        .layer(RespondLayer)
        // Protect: calls over the limit are refused at once.
        .layer(ConcurrencyLimitLayer::new(capacity.in_flight))
        // Decide: a valid request, an authenticated caller, a known operation, an allowed call, within
        // its limits.
        .layer(StageLayer::new(decide))
        // If the decision depends on the job: look it up through the stages below, then decide.
        .layer(lookup)
        // Act: compose a new request and lend it a credential for each attempt; check it once more and sign it right
        // before it is sent.
        .layer(RetryLayer::new(upstream.retries.attempts, upstream.retries.stale))
        .layer(EntrustLayer)
        .service(Forward::new(capacity.room, sink, metrics, clearance));
    Stack(Arc::new((precheck, path)))
}
