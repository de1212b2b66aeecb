//! What does one value mean? The readers of text, names, switches, durations, sizes and numbers.
//!
//! Each takes a node and gives what it means, or reports what was expected there and gives nothing.

use super::decode::closest;
use super::page::{Page, Placed};
use super::yaml::{Node, Value};
use crate::operation::Segment;
use crate::policy::parse_moment;
use chrono::{DateTime, Utc};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Text that is not empty, as it is written: quotes are needed only where YAML reads something else than one value.
/// `what` completes "expected …".
pub(super) fn text<'n>(page: &'n Page, node: &'n Node<'n>, what: &str) -> Option<&'n str> {
    let text = page.scalar(node);
    match text {
        Some("") => page.error(
            node.place,
            format!("expected {what}, found an empty text"),
            "write it between the quotes",
        ),
        Some(_) => {}
        None => page.wrong_kind(node, what),
    }
    text.filter(|text| !text.is_empty())
}

/// A name or id that a request target can hold.
pub(super) fn name(page: &Page, node: &Node) -> Option<Placed<Arc<str>>> {
    let name = Placed { value: text(page, node, "a name")?.into(), place: node.place };
    is_name(page, &name).then_some(name)
}

/// Whether a name obeys the grammar of names; reported where not.
pub(super) fn is_name(page: &Page, name: &Placed<Arc<str>>) -> bool {
    let valid = Segment::parse(&name.value).is_some();
    if !valid {
        let message = format!("`{}` is not a name", name.value);
        page.error(name.place, message, "a name is 1 to 64 characters of A-Z a-z 0-9 _ -");
    }
    valid
}

/// `true` or `false`.
pub(super) fn switch(page: &Page, node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(value) => return Some(*value),
        Value::Text(text) if ["yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str()) => {
            page.error(node.place, format!("`{text}` is not a switch"), "write true or false");
        }
        other @ (Value::Text(_)
        | Value::Null
        | Value::Integer(_)
        | Value::Number
        | Value::List(_)
        | Value::Map(_)) => {
            let message = format!("expected true or false, found {}", other.kind());
            page.error(node.place, message, "write true or false, without quotes or brackets");
        }
    }
    None
}

/// One of a few words.
pub(super) fn choice<T: Copy>(page: &Page, node: &Node, words: &[(&str, T)]) -> Option<T> {
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let all = all.join(", ");
    let text = text(page, node, &format!("one of {all}"))?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let hint = match closest(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {all}"),
    };
    page.error(node.place, format!("`{text}` is not one of {all}"), hint);
    None
}

/// A whole number.
pub(super) fn count(page: &Page, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
    let (least, most) = (range.start(), range.end());
    let expected = format!("a number from {least} to {most}");
    match node.value {
        Value::Integer(number) if range.contains(&number) => return Some(number),
        Value::Integer(number) => {
            page.error(node.place, format!("{number} is not {expected}"), "choose one in that range");
        }
        Value::Text(_) => page.error(
            node.place,
            format!("expected {expected}, found text"),
            "write digits only, without quotes or a unit",
        ),
        Value::Number => page.error(node.place, format!("expected {expected}"), "write a whole number"),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => page.wrong_kind(node, &expected),
    }
    None
}

/// A whole number from 0 to 100 and a `%`: `20%`.
pub(super) fn percentage(page: &Page, node: &Node) -> Option<u32> {
    let what = "a percentage such as 20%";
    let hint = "write a whole number from 0 to 100, and `%`";
    if matches!(node.value, Value::Integer(_) | Value::Number) {
        page.error(node.place, format!("expected {what}, found a number without a unit"), hint);
        return None;
    }
    let text = text(page, node, what)?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let percentage = digits.and_then(|digits| digits.parse().ok()).filter(|percentage| *percentage <= 100);
    if percentage.is_none() {
        page.error(node.place, format!("expected {what}, found `{text}`"), hint);
    }
    percentage
}

/// A number and a unit: `500ms`, `5s`, `2m`, `1h`.
pub(super) fn duration(page: &Page, node: &Node, range: RangeInclusive<Duration>) -> Option<Duration> {
    let value = measure(page, node, "a duration such as 500ms, 3s or 2m", DURATIONS)?;
    let duration = Duration::from_millis(value);
    if range.contains(&duration) {
        return Some(duration);
    }
    let range = format!("{} to {}", spell(*range.start()), spell(*range.end()));
    page.error(
        node.place,
        format!("{} is not from {range}", spell(duration)),
        "choose a value in that range",
    );
    None
}

/// A number and a unit: `512B`, `16KiB`, `1MiB`; a bare number is bytes.
pub(super) fn size(page: &Page, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
    let bytes = match node.value {
        Value::Integer(bytes) => bytes,
        Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            measure(page, node, "a size such as 16KiB or 1MiB", SIZES)?
        }
    };
    if range.contains(&bytes) {
        return Some(bytes);
    }
    let (least, most) = (range.start() / 1024, range.end() / 1024);
    page.error(
        node.place,
        format!("{bytes} bytes is not from {least}KiB to {most}KiB"),
        "choose a size in that range",
    );
    None
}

/// A date, or a date and time.
pub(super) fn moment(page: &Page, node: &Node) -> Option<DateTime<Utc>> {
    let text = text(page, node, "a date such as 2027-01-31")?;
    parse_moment(text)
        .map_err(|error| page.error(node.place, format!("`{text}` is not a time"), error.to_string()))
        .ok()
}

/// How a duration is written in these files.
pub(super) fn spell(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".into(),
        millis if millis % 1000 != 0 => format!("{millis}ms"),
        millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        millis => format!("{}s", millis / 1000),
    }
}

/// Digits and one of the units, multiplied out.
fn measure(page: &Page, node: &Node, what: &str, units: &[(&str, u64)]) -> Option<u64> {
    let all: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    let hint = format!("write a whole number and one of the units {}", all.join(", "));
    if matches!(node.value, Value::Integer(_) | Value::Number) {
        page.error(node.place, format!("expected {what}, found a number without a unit"), hint);
        return None;
    }
    let text = text(page, node, what)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let value = text.split_at_checked(digits).and_then(|(number, unit)| {
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    });
    if value.is_none() {
        page.error(node.place, format!("expected {what}, found `{text}`"), hint);
    }
    value
}

const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];
