//! In which order does it happen? The whole way of a request, read from top to bottom.
//!
//! The order is not a matter of care: each stage takes the type that only the stage before it can make.

use std::{convert::Infallible, sync::Arc};

use arc_swap::ArcSwap;
use http::Response;
use tokio::sync::Semaphore;
use tower::{
    ServiceBuilder, filter::FilterLayer, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer,
    util::BoxCloneSyncService,
};

use crate::{
    audit::{Recent, Sink},
    config::{Limits, UpstreamSettings},
    limit::{Cutoff, Freeze, Room},
    metrics::Metrics,
    stage::{
        Arrival, AuditLayer, Authenticate, Authorize, Body, Clearance, Compose, EntrustLayer, Forward,
        InForce, Limit, Project, Receive, RespondLayer, RetryLayer, Route,
    },
};

/// The way of a request: an [`Arrival`] in, an answer out, and nothing else can come of it.
pub type Stack = BoxCloneSyncService<Arrival, Response<Body>, Infallible>;

/// What the stages work with.
#[derive(Clone)]
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
    /// Whether the time to finish is over.
    pub cutoff: Cutoff,
}

/// What all stacks of a process share.
#[derive(Clone)]
pub struct Capacity {
    /// A permit for each call that may be under way.
    pub in_flight: Arc<Semaphore>,
    /// Room for upstream's answers.
    pub room: Room,
}

/// Builds a stack.
pub fn build(limits: &Limits, upstream: &UpstreamSettings, capacity: Capacity, parts: Parts) -> Stack {
    let Parts { in_force, projects, sink, recent, freeze, metrics, hostname, cutoff } = parts;
    let authorize = Authorize::new(Arc::clone(&metrics));
    let clearance = Clearance::new(Arc::clone(&in_force), authorize.clone(), freeze.clone(), cutoff);
    let stack = ServiceBuilder::new()
        // Observe: exactly one record a request, and the one map from errors to answers.
        .layer(AuditLayer::new(sink.clone(), recent, Arc::clone(&metrics), hostname))
        .layer(RespondLayer)
        // Protect: what is too much is refused at once.
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(capacity.in_flight))
        // Decide: a clean request, a proven caller, a known operation, an allowed call, within
        // its limits.
        .layer(FilterLayer::new(Receive::new(limits.request_deadline)))
        .layer(FilterLayer::new(Authenticate::new(in_force)))
        .layer(FilterLayer::new(Route::new(&projects)))
        .layer(FilterLayer::new(authorize))
        .layer(FilterLayer::new(Limit::new(freeze, Arc::clone(&metrics))))
        // Act: a new request, lent the credential in force for each attempt; cleared once more and signed when
        // nothing is left to be waited for.
        .layer(FilterLayer::new(Compose))
        .layer(RetryLayer::new(upstream.attempts, upstream.stale))
        .layer(EntrustLayer)
        .service(Forward::new(capacity.room, sink, metrics, clearance));
    BoxCloneSyncService::new(stack)
}
