//! The stages of the request path, one file each: the only adapter between the domain and tower.
//!
//! ```text
//! Arrival ─audit▶ Recorded ─receive▶ Received ─authenticate▶ Identified ─route▶ Routed ─authorize▶ Evaluated
//!         ─limit▶ Admitted ─lookup▶ Permitted ─compose▶ Composed ─retry▶ Attempt ─entrust▶ Entrusted ─clear▶ Cleared ─sign▶ Signed
//!         ─forward▶ Answered
//! ```
//!
//! Each type has private fields and lives beside the one stage that may make it. A stage that decides is a plain function
//! from one type to the next ([`Stage`]); [`Decide`] is all of them together. `forward` clears and signs a request right
//! before its first byte. So leaving out a stage, or swapping two, does not compile. This does:
//!
//! ```
//! use mpc_auth_proxy::stage::{Admitted, Decide, Recorded, Refusal, Stage};
//!
//! fn whole<'r>(decide: &Decide, request: Recorded<'r>) -> Result<Admitted<'r>, Refusal> {
//!     let received = decide.receive.check(request)?;
//!     let identified = decide.authenticate.check(received)?;
//!     let routed = decide.route.check(identified)?;
//!     let evaluated = decide.authorize.check(routed)?;
//!     decide.limit.check(evaluated)
//! }
//! ```
//!
//! Without `authorize` it does not:
//!
//! ```compile_fail,E0277
//! use mpc_auth_proxy::stage::{Admitted, Decide, Recorded, Refusal, Stage};
//!
//! fn whole<'r>(decide: &Decide, request: Recorded<'r>) -> Result<Admitted<'r>, Refusal> {
//!     let received = decide.receive.check(request)?;
//!     let identified = decide.authenticate.check(received)?;
//!     let routed = decide.route.check(identified)?;
//!     decide.limit.check(routed)
//! }
//! ```
//!
//! Nor with `authenticate` and `route` swapped:
//!
//! ```compile_fail,E0277
//! use mpc_auth_proxy::stage::{Admitted, Decide, Recorded, Refusal, Stage};
//!
//! fn whole<'r>(decide: &Decide, request: Recorded<'r>) -> Result<Admitted<'r>, Refusal> {
//!     let received = decide.receive.check(request)?;
//!     let routed = decide.route.check(received)?;
//!     let identified = decide.authenticate.check(routed)?;
//!     let evaluated = decide.authorize.check(identified)?;
//!     decide.limit.check(evaluated)
//! }
//! ```
//!
//! The services that act are as strict: a composed request can only come from a decision.
//!
//! ```
//! use mpc_auth_proxy::stage::{Composed, Decide, Delivered, LookupLayer, Recorded, Refusal, Service, StageLayer};
//! use tower::ServiceBuilder;
//!
//! fn whole<S>(decide: Decide, lookup: LookupLayer, act: S) -> impl for<'r> Service<Recorded<'r>>
//! where
//!     S: for<'r> Service<Composed<'r>, Response = Delivered, Error = Refusal> + Sync,
//! {
//!     ServiceBuilder::new().layer(StageLayer::new(decide)).layer(lookup).service(act)
//! }
//! ```
//!
//! ```compile_fail,E0277
//! use mpc_auth_proxy::stage::{Composed, Delivered, LookupLayer, Recorded, Refusal, Service};
//! use tower::ServiceBuilder;
//!
//! fn whole<S>(lookup: LookupLayer, act: S) -> impl for<'r> Service<Recorded<'r>>
//! where
//!     S: for<'r> Service<Composed<'r>, Response = Delivered, Error = Refusal> + Sync,
//! {
//!     ServiceBuilder::new().layer(lookup).service(act)
//! }
//! ```
//!
//! A permitted request can be composed,
//!
//! ```
//! use mpc_auth_proxy::stage::{Compose, Composed, Permitted, Refusal, Stage};
//!
//! fn compose<'r>(request: Permitted<'r>) -> Result<Composed<'r>, Refusal> {
//!     Compose.check(request)
//! }
//! ```
//!
//! but not one that still waits for facts of its job:
//!
//! ```compile_fail,E0277
//! use mpc_auth_proxy::stage::{Compose, Composed, Refusal, Stage, Waiting};
//!
//! fn compose<'r>(request: Waiting<'r>) -> Result<Composed<'r>, Refusal> {
//!     Compose.check(request)
//! }
//! ```
//!
//! A judged body cannot be made from other bytes, so no other body can be signed and sent:
//!
//! ```compile_fail,E0451
//! use mpc_auth_proxy::editing::Body;
//! fn forge(other: Body) -> Body {
//!     Body { ..other }
//! }
//! ```
//!
//! A request that was only received, with or without its body, cannot be composed:
//!
//! ```compile_fail,E0277
//! use mpc_auth_proxy::stage::{Compose, Composed, Received, Refusal, Stage};
//!
//! fn compose<'r>(request: Received<'r>) -> Result<Composed<'r>, Refusal> {
//!     Compose.check(request)
//! }
//! ```
//!
//! And nothing else can be passed off as permitted, because only its stage can make one:
//!
//! ```compile_fail,E0451
//! use mpc_auth_proxy::stage::Permitted;
//! fn forge<'r>(other: Permitted<'r>) -> Permitted<'r> {
//!     Permitted { ..other }
//! }
//! ```

mod details;
mod outcome;
mod refusal;
mod response;
mod service;
mod trace;
mod exchange;
mod headers;
mod recorded;
mod audit;
mod respond;
mod concurrency;
mod receive;
mod active_policy;
mod authenticate;
mod precheck;
mod route;
mod authorize;
mod pending;
mod limit;
mod decide;
mod permitted;
mod viewing;
mod rules;
mod lookup;
mod view;
mod compose;
mod retry;
mod answered;
mod entrust;
mod clear;
mod sign;
mod withhold;
mod forward;
mod trial;

pub use active_policy::ActivePolicy;
pub use answered::Answered;
pub use audit::{Arrival, Audit, AuditLayer, BufferedBody, Payload, Recorded};
pub use authenticate::{Authenticate, Identified};
pub use authorize::{Authorize, Evaluated};
pub use clear::{Clearance, Cleared};
pub use compose::{Attempt, Compose, Composed};
pub use concurrency::{ConcurrencyLimit, ConcurrencyLimitLayer};
pub use decide::Decide;
pub use entrust::{Entrust, EntrustLayer, Entrusted};
pub use forward::Forward;
pub use limit::{Admitted, Limit};
pub use lookup::{AfterLimits, LookupStage, Waiting};
pub use outcome::verdict;
pub use permitted::Permitted;
pub use precheck::{ExpectedBody, Precheck};
pub use receive::{Receive, Received, canonical};
pub use refusal::{Denial, Refusal};
pub use respond::{Respond, RespondLayer, is_passed_on};
pub use response::Body;
pub use retry::{Delivered, Retry, RetryLayer};
pub use route::{Project, Route, Routed};
pub use rules::LookupLayer;
pub use service::{Service, Stage, StageLayer, Staged};
pub use sign::Signed;
pub use trial::{Acceptance, Trial};
pub use viewing::Viewing;
