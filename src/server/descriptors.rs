//! How many connections can this process have? As many as the limits say, if there are descriptors enough for them
//! and for everything else.
//!
//! A caller must never take the last descriptor: upstream is reached, records are written, files are read and probes
//! are answered with descriptors too. What happens when the room is taken is `room`'s matter.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Limits;

/// Raises the limit of open files as far as the process may, and returns how many connections fit into it. Fewer than
/// wanted are told in the log.
pub(super) fn connections(limits: &Limits) -> usize {
    let files = match raise() {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is not known: `limits.connections` is taken on trust");
            return limits.connections;
        }
    };
    let fits = fit(files, limits);
    if fits < limits.connections {
        let needed = limits.connections + reserve(limits.connections, limits.in_flight);
        tracing::warn!(
            files,
            needed,
            wanted = limits.connections,
            connections = fits,
            "the limit of open files (ulimit -n, LimitNOFILE=) is too low for `limits.connections`: fewer are taken"
        );
    }
    fits
}

fn raise() -> nix::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let soft = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        // A sandbox may forbid it.
        Err(_) => soft,
    };
    Ok(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// The most connections, up to the wanted ones, that leave their reserve free.
fn fit(files: usize, limits: &Limits) -> usize {
    let left = files.saturating_sub(OWN);
    // Each may have a request under way, up to the limit of those.
    let fits = if left / 2 <= limits.in_flight { left / 2 } else { left - limits.in_flight };
    fits.max(FEWEST).min(limits.connections)
}

/// What is kept from so many connections.
fn reserve(connections: usize, in_flight: usize) -> usize {
    // A request under way has a connection to upstream.
    OWN + connections.min(in_flight)
}

/// For the process itself: probes and operators, 64 connections each, the audit sink, files that are read, sockets,
/// names that are resolved, idle connections to upstream.
const OWN: usize = 320;
/// Where there is room for less than this, there are not descriptors enough to run.
const FEWEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_leaves_the_reserve_free() {
        for (files, wanted, in_flight, expected) in [
            (1 << 20, 4096, 1024, 4096),
            (16384, 4096, 1024, 4096),
            (4096 + 1024 + OWN, 4096, 1024, 4096),
            (4096 + 1024 + OWN - 1, 4096, 1024, 4095),
            (4096, 4096, 1024, 4096 - 1024 - OWN),
            (1024, 4096, 1024, (1024 - OWN) / 2),
            (1024, 100, 1024, 100),
            (1024, 4096, 10, 1024 - 10 - OWN),
            (OWN, 4096, 1024, FEWEST),
            (0, 4096, 1024, FEWEST),
            (0, 4, 1024, 4),
            (usize::MAX, 1_000_000, 1_000_000, 1_000_000),
        ] {
            let limits = Limits { connections: wanted, in_flight, ..Limits::default() };
            let fits = fit(files, &limits);
            assert_eq!(fits, expected, "{files} files, {wanted} connections, {in_flight} requests");
            assert!(
                fits <= FEWEST || fits + reserve(fits, in_flight) <= files,
                "{files} {wanted} {in_flight}"
            );
        }
    }
}
