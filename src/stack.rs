//! The request path. One `ServiceBuilder`, read from top to bottom.
//!
//! The order is not a matter of care: each stage takes the type that only the stage before it can make.

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

/// The request path, and before it the question whether a body is worth reading. Clones share it.
#[derive(Clone)]
pub struct Stack(Arc<(Precheck, Path)>);

impl Stack {
    /// How many bytes of a body are worth reading.
    ///
    /// # Errors
    /// Why they are not: with that in place of its body, the request is to be answered.
    pub fn precheck(&self, expected: &ExpectedBody<'_>) -> Result<usize, Refusal> {
        // A panic is a refusal here, too, and has its record.
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

/// What the stages work with.
#[derive(Clone)]
pub struct Parts {
    /// The callers and the policy in force.
    pub in_force: Arc<ArcSwap<ActivePolicy>>,
    /// The configured projects.
    pub projects: Vec<Arc<Project>>,
    /// Where the records go.
    pub sink: Sink,
    /// What of the facts of jobs stands in them.
    pub recorded_facts: RecordedFacts,
    /// The last of them.
    pub recent: Arc<Recent>,
    /// Whether everything is refused.
    pub freeze: Freeze,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// This machine's name, a part of request ids.
    pub hostname: Arc<str>,
    /// Whether the time to finish is over.
    pub cutoff: Cutoff,
}

/// What all stacks of a process share.
#[derive(Clone)]
pub struct Capacity {
    /// A permit for each call that may be under way.
    pub in_flight: Arc<Semaphore>,
    /// Room for upstream's answers.
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
        // Observe: exactly one record a request, and the one map from errors to answers.
        .layer(AuditLayer::new(sink.clone(), recent, Arc::clone(&metrics), hostname))
        .layer(RespondLayer)
        // Protect: what is too much is refused at once.
        .layer(ConcurrencyLimitLayer::new(capacity.in_flight))
        // Decide: a clean request, a proven caller, a known operation, an allowed call, within
        // its limits.
        .layer(StageLayer::new(decide))
        // Where that depends on what its job is: looked up, by the stages below, and decided then.
        .layer(lookup)
        // Act: a new request, lent the credential in force for each attempt; cleared once more and signed when
        // nothing is left to be waited for.
        .layer(RetryLayer::new(upstream.retries.attempts, upstream.retries.stale))
        .layer(EntrustLayer)
        .service(Forward::new(capacity.room, sink, metrics, clearance));
    Stack(Arc::new((precheck, path)))
}
