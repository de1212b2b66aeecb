//! The section `upstream`: how requests are sent.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::declare::*;
use super::files::{AUTHORITIES, path_shape};
use crate::upstream::Endpoint;

section! {
    /// How requests are sent upstream.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UpstreamSettings, "`upstream`" {
        /// Timeout for DNS, connect and TLS handshake.
        connect_timeout: Duration = TIMEOUT, default(Duration::from_secs(3));
        /// Timeout for a whole attempt.
        attempt_timeout: Duration = TIMEOUT, default(Duration::from_secs(10));
        /// Authorities trusted in addition to the built-in roots.
        ca_file: PathBuf = CA_FILE, optional("none");
        /// The egress proxy, used by CONNECT except for NO_PROXY, loopback and link-local addresses.
        proxy: Endpoint = EGRESS, optional("HTTPS_PROXY, which may hold a password, or ALL_PROXY");
        /// Retries of requests that were certainly not executed.
        retries: Retries = nested(), keys("its defaults");
        /// One circuit breaker per endpoint; while it is open, calls are refused.
        breaker: BreakerSettings = nested(), keys("its defaults");
    }
}

section! {
    /// How often requests that were certainly not executed are retried.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Retries, "`retries`" {
        /// Attempts of one call, including the first.
        attempts: u32 = count(1..=10), default(3);
        /// Share of all calls; three in a few seconds are always allowed.
        budget: u32 = Percentage, default(20);
        /// Retries after a reused connection died before an answer began.
        stale: Stale = Words([("once", Stale::Once), ("never", Stale::Never)]), default(Stale::Once);
    }
}

section! {
    /// When the circuit breaker stops calls to a failing upstream.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct BreakerSettings, "`breaker`" {
        /// Consecutive failures: no connection, no answer, an invalid one, 500, 502, 503 or 504.
        failures: NonZeroU32 = count(1..=1_000_000), default(NonZeroU32::MIN.saturating_add(4));
        /// The longest interval between probes; usually it is 1s.
        open_for: Duration = Time(Duration::from_millis(100)..=MAX_TIMEOUT), default(Duration::from_secs(30));
    }
}

/// Whether a request is retried when a reused connection dies before the first byte of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It is retried once.
    Once,
    /// It is not retried.
    Never,
}

pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
pub(super) const TIMEOUT: Time = Time(Duration::from_millis(10)..=MAX_TIMEOUT);
const CA_FILE: CustomKind<PathBuf> =
    own(|source, node| Some(AUTHORITIES.read(source, node)?.path), path_shape);
const EGRESS: CustomKind<Endpoint> =
    own(egress, || Shape::pattern("an egress proxy such as http://egress:3128", PLAIN_HTTP));
const PLAIN_HTTP: &str = "^http://[^\\s/?#@]+/?$";

/// Reads `http://HOST:PORT`. An invalid value is not shown, because it may contain a password.
fn egress(source: &SourceFile, node: &Node) -> Option<Endpoint> {
    let text = scalar::text(source, node, "an egress proxy such as http://egress:3128")?;
    if text.contains('@') {
        let message = "user and password are not allowed here";
        let hint = "remove this key, and set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT in the environment";
        return source.reject(node.place, message, hint);
    }
    Endpoint::parse(text).ok().filter(|proxy| !proxy.tls()).or_else(|| {
        let message = "expected an egress proxy as http://HOST:PORT";
        source.reject(node.place, message, "for example http://egress:3128")
    })
}
