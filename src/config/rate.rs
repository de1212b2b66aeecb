//! How much may be asked for? The readers of `rate_limit` and of a caller's `limits`.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    decode::{Fields, did_you_mean, named},
    page::Page,
    scalar,
    yaml::{Node, Value},
};
use crate::limit::{CallerLimits, Rate};
use crate::operation::ACTIONS;

/// A caller's `limits`: `{ rate: 30/min, burst: 10, in_flight: 4, per_action: { mpc:editingTask:create: 100/day } }`.
pub(super) fn caller(page: &Page, node: &Node) -> Option<CallerLimits> {
    let mut fields = Fields::of(page, node, "`limits`")?;
    if fields.has("burst") && !fields.has("rate") {
        page.error(node.place, "`burst` without `rate` limits nothing", "add `rate: 30/min`, or remove it");
    }
    let rate = fields.optional("rate", rate);
    let burst = fields.optional("burst", number);
    let in_flight = fields.optional("in_flight", number);
    let per_action = fields.optional("per_action", per_action).unwrap_or_default();
    fields.finish();
    let rate = rate.map(|rate| Rate { burst: burst.unwrap_or(rate.burst), ..rate });
    Some(CallerLimits { rate, in_flight, per_action })
}

/// Each by its name in full: a pattern would leave open whether its actions have one limit or one each.
fn per_action(page: &Page, node: &Node) -> Option<Arc<[(&'static str, Rate)]>> {
    let entries = named(page, node, "the actions, such as { mpc:editingTask:create: 100/day }");
    let limits = entries.into_iter().filter_map(|(name, node)| {
        let action = ACTIONS.into_iter().find(|action| **action == *name.value);
        if action.is_none() {
            let hint = did_you_mean(page, &name.value, ACTIONS.into_iter());
            page.error(name.place, format!("there is no action `{}`", name.value), hint);
        }
        Some((action?, rate(page, node)?))
    });
    Some(limits.collect())
}

/// `30/min`: a number of calls, and `s`, `min`, `h` or `day`. As many may come at once.
pub(super) fn rate(page: &Page, node: &Node) -> Option<Rate> {
    if matches!(node.value, Value::Integer(_) | Value::Number) {
        page.error(node.place, format!("expected {EXPECTED}, found a number without a unit"), HINT);
        return None;
    }
    let text = scalar::text(page, node, EXPECTED)?;
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse::<NonZeroU32>().ok().filter(|count| digits && count.get() <= MOST)?;
        let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        Some(Rate { count, per: Duration::from_secs(per), burst: count })
    });
    if parsed.is_none() {
        page.error(node.place, format!("expected {EXPECTED}"), HINT);
    }
    parsed
}

fn number(page: &Page, node: &Node) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(scalar::count(page, node, 1..=u64::from(MOST))?).ok()?)
}

const EXPECTED: &str = "a rate such as 30/min";
const HINT: &str = "write a whole number from 1 to 1000000, `/`, and one of s, min, h, day";
const MOST: u32 = 1_000_000;
const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3600), ("day", 86_400)];
