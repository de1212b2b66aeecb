//! The upstream client.
//!
//! One [`Upstream`] per endpoint dials, keeps a small pool of HTTP/1.1 connections, and makes **one** attempt. It precedes
//! configuration, because settings contain its types. Only an [`Endpoint`] says where a request goes, never anything that a
//! caller sent.
//!
//! It retries nothing: it reports precisely how far an attempt got ([`SendError`]), and the retry stage judges. It refuses
//! nothing: it keeps the [`Breaker`] and the [`Budget`] for the stages. It follows no redirect and reads no answer beyond
//! its limits.

mod breaker;
mod budget;
mod client;
mod diagnose;
mod dial;
mod egress;
mod endpoint;
mod error;
mod no_proxy;
mod pool;
mod roots;
mod stream;
mod tunnel;

pub use breaker::{Breaker, CircuitChange, Evidence, Permit};
pub use budget::Budget;
pub use client::{Connected, ConnectionChoice, Outbound, Timeouts, Upstream, UpstreamAnswer};
pub use diagnose::{Diagnosis, diagnose};
pub use dial::DialerError;
pub use egress::{EXEMPTIONS, Egress, Proxies, Proxy, ProxyVariableError, variable};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DialError, InvalidAnswer, ProxyError, SendError};
pub use pool::MAX_IDLE;
pub use roots::{Roots, RootsError};

#[cfg(test)]
pub(crate) mod loopback;
