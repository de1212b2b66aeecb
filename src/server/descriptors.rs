//! Divides the file descriptors between callers and upstreams.
//!
//! A call needs a connection from its caller and one to upstream. If callers could take all descriptors by holding
//! connections open, nobody could make a call. So limits that the descriptors do not allow are lowered.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{config::Limits, upstream::MAX_IDLE};

/// Raises the process's limit as far as allowed, and returns it.
pub fn available() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FALLBACK_LIMIT };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

/// Returns the limits that this number of descriptors allows with this number of upstreams. Logs those that are lowered.
pub fn fit(limits: &Limits, descriptors: usize, upstreams: usize) -> Limits {
    // As many connections can be idle as were in use at the same time.
    let idle = |in_flight: usize| MAX_IDLE.saturating_mul(upstreams).min(in_flight);
    let left = descriptors.saturating_sub(RESERVE);
    let Limits { connections, in_flight, .. } = *limits;
    if connections.saturating_add(in_flight).saturating_add(idle(in_flight)) <= left {
        return limits.clone();
    }
    // A caller's connection is cheap, so callers get the greater part.
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

/// For listeners, the audit file, probes, DNS, credential files, and connections that were asked to leave.
const RESERVE: usize = 128;
/// The limit that every system allows.
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
