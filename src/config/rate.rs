//! Rates (`rate_limit`) and a caller's `limits`.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::declare::*;
use super::{names::known, scalar::with_unit};
use crate::limit::{CallerLimits, Rate};
use crate::operation::ACTIONS;

section! {
    /// The limits of one caller.
    struct RawLimits, "`limits`", [Rule::Needs("burst", "rate")] {
        /// The rate of its calls: N/s, N/min, N/h or N/day.
        rate: Rate = RATE, optional("no limit");
        /// Calls at once after a quiet period.
        burst: NonZeroU32 = count(1..=MAX_COUNT), optional("the rate's number");
        /// Calls in flight.
        in_flight: NonZeroU32 = count(1..=MAX_COUNT), optional("half of `limits.in_flight` if there are other callers");
        /// Additional rates of single actions, by their full names.
        // With a pattern it would be unclear whether its actions share one limit.
        per_action: Arc<[(&'static str, Rate)]> = PER_ACTION, keys("");
    }
}

pub(super) const CALLER_LIMITS: CustomKind<CallerLimits> = own(caller, RawLimits::shape);
/// A rate such as `30/min`: a number of calls, which may come at once, and `s`, `min`, `h` or `day`.
pub(super) const RATE: CustomKind<Rate> =
    own(rate, || Shape::pattern(EXPECTED, "^0*([1-9][0-9]{0,5}|1000000)/(s|min|h|day)$"));

const PER_ACTION: CustomKind<Arc<[(&'static str, Rate)]>> = own(per_action, || Shape::Known {
    what: "actions, each with a rate",
    entries: ACTIONS.map(|action| (action.to_owned(), RATE.shape())).into(),
});

fn caller(source: &SourceFile, node: &Node) -> Option<CallerLimits> {
    let RawLimits { rate, burst, in_flight, per_action } = RawLimits::read(source, node)?;
    if node.get("burst").is_some() && node.get("rate").is_none() {
        source.error(node.place, "`burst` has no effect without `rate`", "add `rate: 30/min`, or remove it");
    }
    let rate = rate.map(|rate| Rate { burst: burst.unwrap_or(rate.burst), ..rate });
    Some(CallerLimits { rate, in_flight, per_action })
}

fn per_action(source: &SourceFile, node: &Node) -> Option<Arc<[(&'static str, Rate)]>> {
    let entries = named(source, node, "the actions, such as { mpc:editingTask:create: 100/day }");
    let limits = entries.into_iter().filter_map(|(name, node)| {
        Some((known(source, "action", &name, ACTIONS.into_iter())?, rate(source, node)?))
    });
    Some(limits.collect())
}

fn rate(source: &SourceFile, node: &Node) -> Option<Rate> {
    let text = with_unit(source, node, EXPECTED, HINT)?;
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse::<NonZeroU32>().ok().filter(|count| digits && count.get() <= MAX_COUNT)?;
        let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        Some(Rate { count, per: Duration::from_secs(per), burst: count })
    });
    parsed.or_else(|| source.reject(node.place, format!("expected {EXPECTED}"), HINT))
}

const EXPECTED: &str = "a rate such as 30/min";
const HINT: &str = "write a whole number from 1 to 1000000, `/`, and s, min, h or day";
const MAX_COUNT: u32 = 1_000_000;
const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3600), ("day", 86_400)];
