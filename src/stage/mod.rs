//! What happens to a request, one file a stage: the only adapter between the domain and tower.
//!
//! ```text
//! Arrival ─audit▶ Recorded ─receive▶ Received ─authenticate▶ Identified ─route▶ Routed ─authorize▶ Permitted
//!         ─limit▶ Admitted ─compose▶ Composed ─entrust▶ Entrusted ─clear▶ Cleared ─sign▶ Signed ─forward▶ Answer
//! ```
//!
//! Each type has private fields and lives beside the one stage that may make it; each stage that decides is a
//! [`tower::filter::Predicate`] from one type to the next; clearing and signing are the last things that `forward` does
//! before the first byte. So leaving a stage out, or swapping two, does not
//! compile. This stack does:
//!
//! ```
//! use mpc_auth_proxy::stage::{Authenticate, Authorize, Compose, EntrustLayer, Forward, Limit, Receive, Recorded, Route};
//! use tower::{Service, ServiceBuilder, filter::FilterLayer};
//!
//! fn whole(a: Receive, b: Authenticate, c: Route, d: Authorize, e: Limit, f: Compose, x: EntrustLayer, h: Forward) -> impl Service<Recorded> {
//!     ServiceBuilder::new()
//!         .layer(FilterLayer::new(a))
//!         .layer(FilterLayer::new(b))
//!         .layer(FilterLayer::new(c))
//!         .layer(FilterLayer::new(d))
//!         .layer(FilterLayer::new(e))
//!         .layer(FilterLayer::new(f))
//!         .layer(x)
//!         .service(h)
//! }
//! ```
//!
//! Without `authorize` it does not:
//!
//! ```compile_fail
//! use mpc_auth_proxy::stage::{Authenticate, Authorize, Compose, EntrustLayer, Forward, Limit, Receive, Recorded, Route};
//! use tower::{Service, ServiceBuilder, filter::FilterLayer};
//!
//! fn whole(a: Receive, b: Authenticate, c: Route, d: Authorize, e: Limit, f: Compose, x: EntrustLayer, h: Forward) -> impl Service<Recorded> {
//!     ServiceBuilder::new()
//!         .layer(FilterLayer::new(a))
//!         .layer(FilterLayer::new(b))
//!         .layer(FilterLayer::new(c))
//!         .layer(FilterLayer::new(e))
//!         .layer(FilterLayer::new(f))
//!         .layer(x)
//!         .service(h)
//! }
//! ```
//!
//! Nor with `authenticate` and `route` swapped:
//!
//! ```compile_fail
//! use mpc_auth_proxy::stage::{Authenticate, Authorize, Compose, EntrustLayer, Forward, Limit, Receive, Recorded, Route};
//! use tower::{Service, ServiceBuilder, filter::FilterLayer};
//!
//! fn whole(a: Receive, b: Authenticate, c: Route, d: Authorize, e: Limit, f: Compose, x: EntrustLayer, h: Forward) -> impl Service<Recorded> {
//!     ServiceBuilder::new()
//!         .layer(FilterLayer::new(a))
//!         .layer(FilterLayer::new(c))
//!         .layer(FilterLayer::new(b))
//!         .layer(FilterLayer::new(d))
//!         .layer(FilterLayer::new(e))
//!         .layer(FilterLayer::new(f))
//!         .layer(x)
//!         .service(h)
//! }
//! ```
//!
//! And a request that was only routed cannot be passed off as permitted, because nobody else can make one:
//!
//! ```compile_fail
//! use mpc_auth_proxy::stage::Permitted;
//! fn forge(other: Permitted) -> Permitted {
//!     Permitted { ..other }
//! }
//! ```

mod refusal;
mod trace;
mod audit;
mod respond;
mod receive;
mod authenticate;
mod route;
mod authorize;
mod limit;
mod compose;
mod retry;
mod entrust;
mod clear;
mod sign;
mod forward;
#[cfg(any(test, fuzzing))]
mod decide;

pub use audit::{Arrival, Audit, AuditLayer, Recorded};
pub use authenticate::{Authenticate, Identified, InForce};
pub use authorize::{Authorize, Permitted};
pub use clear::{Clearance, Cleared};
pub use compose::{Compose, Composed};
#[cfg(any(test, fuzzing))]
pub use decide::Decide;
pub use entrust::{Entrust, EntrustLayer, Entrusted};
pub use forward::{Answered, Forward};
pub use limit::{Admitted, Limit};
pub use receive::{Receive, Received, canonical};
pub use refusal::Refusal;
pub use respond::{Body, Respond, RespondLayer, is_passed_on};
pub use retry::{Delivered, RetryLayer};
pub use route::{Project, Route, Routed};
pub use sign::Signed;

use std::sync::Arc;

use tokio::time::Instant;

use crate::{audit::Trail, identity::Peer};
use trace::TraceContext;

/// What stays with a request from stage to stage. None of it grants anything.
#[derive(Clone)]
struct Exchange {
    peer: Arc<Peer>,
    trail: Trail,
    deadline: Instant,
    trace: Option<Arc<TraceContext>>,
}
