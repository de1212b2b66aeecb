//! The upstream client.
//!
//! One [`Upstream`] per endpoint: it dials, keeps a small pool of HTTP/1.1 connections, and sends **one**
//! attempt. It stands before configuration because settings are made of its types. Where a request goes comes
//! from an [`Endpoint`] alone, never from anything a caller sent.
//!
//! It does not repeat anything: it says precisely how far an attempt got ([`SendError`]) and leaves it to the
//! retry stage to judge. Nor does it refuse anything by itself: it keeps the [`Breaker`] and the [`Budget`] that
//! stages ask. It follows no redirect and reads no answer beyond its limits.

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
