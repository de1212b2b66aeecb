//! Shares out file descriptors. Callers and upstreams each have a share, so that neither takes the other's.
//!
//! A call needs a connection of its caller's and one to upstream. Were all descriptors taken by callers that only
//! hold a connection open, no call of anybody's could be made; so what cannot be had is not promised.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{config::Limits, upstream::MAX_IDLE};

/// As many descriptors as this process may have: it takes what it is allowed to.
pub fn available() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FALLBACK_LIMIT };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

/// The limits that so many descriptors allow, with so many upstreams. It is said where they are lower.
pub fn fit(limits: &Limits, descriptors: usize, upstreams: usize) -> Limits {
    // As many connections may lie idle as were once used together.
    let idle = |in_flight: usize| MAX_IDLE.saturating_mul(upstreams).min(in_flight);
    let left = descriptors.saturating_sub(RESERVE);
    let Limits { connections, in_flight, .. } = *limits;
    if connections.saturating_add(in_flight).saturating_add(idle(in_flight)) <= left {
        return limits.clone();
    }
    // A caller's connection is cheap to hold: of what is there, they get the greater part.
    let in_flight = in_flight.min(left / 4).max(1);
    let connections = connections.min(left.saturating_sub(in_flight + idle(in_flight))).max(1);
    tracing::warn!(
        descriptors,
        connections,
        in_flight,
        "too few file descriptors for `limits`: lowered; raise the open-files limit (LimitNOFILE)"
    );
    Limits { connections, in_flight, ..limits.clone() }
}

/// For the listeners, the audit file, the probes, DNS, the files of credentials, and connections that were told to go.
const RESERVE: usize = 128;
/// What every system gives.
const FALLBACK_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_shared_between_callers_and_upstreams() {
        for (descriptors, upstreams, connections, in_flight) in [
            (1 << 20, 1, 4096, 1024),
            (4096 + 1024 + 1024 + 128, 1, 4096, 1024),
            (4096 + 1024 + 1024 + 127, 1, 4095, 1024),
            (1024, 1, 448, 224),
            (100, 1, 1, 1),
        ] {
            let limits = fit(&Limits::default(), descriptors, upstreams);
            assert_eq!((limits.connections, limits.in_flight), (connections, in_flight), "{descriptors}");
        }
    }
}
