//! In which order does it happen? The whole way of a request, read from top to bottom.
//!
//! The order is not a matter of care: each stage takes the type that only the stage before it can make.

use std::{convert::Infallible, sync::Arc};

use arc_swap::ArcSwap;
use http::Response;
use tower::{
    ServiceBuilder, filter::FilterLayer, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer,
    util::BoxCloneSyncService,
};

use crate::{
    audit::{Recent, Sink},
    clock::Skew,
    config::{Limits, UpstreamSettings},
    limit::Freeze,
    metrics::Metrics,
    stage::{
        Arrival, AuditLayer, Authenticate, Authorize, Body, Compose, EntrustLayer, Forward, InForce, Limit,
        Project, Receive, RespondLayer, RetryLayer, Route, Sign,
    },
};

/// The way of a request: an [`Arrival`] in, an answer out, and nothing else can come of it.
pub type Stack = BoxCloneSyncService<Arrival, Response<Body>, Infallible>;

/// What the stages work with.
pub struct Parts {
    /// The callers and the policy in force.
    pub in_force: Arc<ArcSwap<InForce>>,
    /// The configured projects.
    pub projects: Vec<Arc<Project>>,
    /// Where the records go.
    pub sink: Sink,
    /// The last of them.
    pub recent: Arc<Recent>,
    /// Whether everything is refused.
    pub freeze: Freeze,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// This machine's name, a part of request ids.
    pub hostname: String,
    /// The cloud's clock.
    pub skew: Skew,
}

/// Builds the stack.
pub fn build(limits: &Limits, upstream: &UpstreamSettings, parts: Parts) -> Stack {
    let Parts { in_force, projects, sink, recent, freeze, metrics, hostname, skew } = parts;
    let stack = ServiceBuilder::new()
        // Observe: exactly one record a request, and the one map from errors to answers.
        .layer(AuditLayer::new(sink.clone(), recent, Arc::clone(&metrics), hostname))
        .layer(RespondLayer)
        // Protect: what is too much is refused at once.
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(limits.in_flight))
        // Decide: a clean request, a proven caller, a known operation, an allowed call, within
        // its limits.
        .layer(FilterLayer::new(Receive::new(limits.request_deadline, limits.headers)))
        .layer(FilterLayer::new(Authenticate::new(in_force)))
        .layer(FilterLayer::new(Route::new(&projects)))
        .layer(FilterLayer::new(Authorize::new(Arc::clone(&metrics))))
        .layer(FilterLayer::new(Limit::new(freeze, Arc::clone(&metrics))))
        // Act: a new request, signed anew for each attempt with the credential in force.
        .layer(FilterLayer::new(Compose))
        .layer(RetryLayer::new(upstream.attempts, upstream.stale))
        .layer(EntrustLayer::new(skew.clone()))
        .layer(FilterLayer::new(Sign::new(skew.clone())))
        .service(Forward::new(sink, metrics, skew));
    BoxCloneSyncService::new(stack)
}
