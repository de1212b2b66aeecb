//! How far this machine's clock is off.

use chrono::TimeDelta;

use super::{
    endpoints::ProbedEndpoint,
    finding::{Finding, format_span},
};
use crate::clock::{Clocks, Skew, TOLERATED};

/// How far this machine's clock is from that of who answered, and is furthest from it.
pub(super) fn look(clocks: &Clocks, reached: &[ProbedEndpoint]) -> Finding {
    let clocks = clocks.all();
    let furthest = clocks.iter().max_by_key(|skew| skew.measured().abs());
    let measured = furthest.map_or(TimeDelta::zero(), Skew::measured);
    let direction = if measured > TimeDelta::zero() { "behind" } else { "ahead" };
    let off = format!("its clock is {} {direction}", format_span(measured));
    let finding = |message: String| {
        Finding::ok("clock", "this machine", message).fact("skew_seconds", measured.num_seconds())
    };
    if measured.is_zero() {
        return match reached.iter().any(ProbedEndpoint::told_the_time) {
            true => finding("its clock agrees with the cloud's, within seconds".into()),
            false => finding("no answer carried the time".into()).warn("make an endpoint reachable"),
        };
    }
    if measured.abs() < TOLERATED {
        return finding(format!("{off}; signatures use the cloud's")).warn(
            "set it, and synchronize it with NTP: the policy's times and callers' tokens depend on it",
        );
    }
    finding(format!("{off}; signatures use the cloud's, corrected by at most a day"))
        .fail("set it, and synchronize it with NTP")
}
