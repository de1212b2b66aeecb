//! The kinds of single values: text, names, switches, words, numbers, durations, sizes and times.

use super::kind::{CustomKind, FormatDefault, Kind, Shape, own};
use super::names::closest;
use super::source_file::{Located, SourceFile};
use super::yaml::{Node, Value};
use crate::operation::Segment;
use crate::policy::parse_moment;
use chrono::{DateTime, Utc};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Reads text that is not empty, as written. Quotes are needed only for what YAML would not read as one value. `what`
/// completes "expected …".
pub(super) fn text<'n>(source: &'n SourceFile, node: &'n Node<'n>, what: &str) -> Option<&'n str> {
    match source.scalar(node) {
        Some("") => {
            let message = format!("expected {what}, found an empty string");
            source.reject(node.place, message, "write it between the quotes")
        }
        Some(text) => Some(text),
        None => source.wrong_kind(node, what),
    }
}

pub(super) fn name(source: &SourceFile, node: &Node) -> Option<Located<Arc<str>>> {
    let name = Located { value: text(source, node, "a name")?.into(), place: node.place };
    is_name(source, &name).then_some(name)
}

/// Whether a name matches the grammar. Reports it if not.
pub(super) fn is_name(source: &SourceFile, name: &Located<Arc<str>>) -> bool {
    let valid = Segment::parse(&name.value).is_some();
    if !valid {
        let message = format!("invalid name `{}`", name.value);
        source.error(name.place, message, "a name is 1 to 64 characters of A-Z a-z 0-9 _ -");
    }
    valid
}

pub(super) const VERSION: CustomKind<()> = own(version, || Shape::Version);
/// A name or id that a request target can hold.
pub(super) const NAME: CustomKind<Located<Arc<str>>> = own(name, name_shape);
/// A date, or a date and time.
pub(super) const MOMENT: CustomKind<DateTime<Utc>> = own(moment, || {
    Shape::pattern("a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z", MOMENTS)
});

pub(super) fn name_shape() -> Shape {
    Shape::bare("a name", "^[A-Za-z0-9_-]{1,64}$")
}

fn version(source: &SourceFile, node: &Node) -> Option<()> {
    if matches!(node.value, Value::Integer(1)) {
        return Some(());
    }
    source.reject(node.place, "unsupported version", "write `version: 1`")
}

fn moment(source: &SourceFile, node: &Node) -> Option<DateTime<Utc>> {
    let text = text(source, node, "a date such as 2027-01-31")?;
    parse_moment(text)
        .map_err(|error| source.error(node.place, format!("`{text}` is not a time"), error.to_string()))
        .ok()
}

/// Text. Its description completes "expected …".
pub(super) struct Text(pub(super) &'static str);

impl Kind for Text {
    type Value = String;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<String> {
        text(source, node, self.0).map(str::to_owned)
    }

    fn shape(&self) -> Shape {
        Shape::text(self.0)
    }
}

impl FormatDefault for Text {
    fn format(&self, value: &String) -> String {
        value.clone()
    }
}

pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let word = source.scalar(node).filter(|text| {
            matches!(node.value, Value::Text(_))
                && ["yes", "no", "on", "off"].contains(&&*text.to_ascii_lowercase())
        });
        if let Some(text) = word {
            let message = format!("`{text}` is not true or false");
            return source.reject(node.place, message, "write true or false");
        }
        let message = format!("expected true or false, found {}", node.value.kind());
        source.reject(node.place, message, "write true or false, without quotes or brackets")
    }

    fn shape(&self) -> Shape {
        Shape::Switch
    }
}

impl FormatDefault for Switch {
    fn format(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of a few words, each with its value.
pub(super) struct Words<const N: usize, T>(pub(super) [(&'static str, T); N]);

impl<const N: usize, T: Copy> Kind for Words<N, T> {
    type Value = T;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<T> {
        let words = || self.0.iter().map(|(word, _)| *word);
        let all = words().collect::<Vec<_>>().join(", ");
        let text = text(source, node, &format!("one of {all}"))?;
        if let Some((_, value)) = self.0.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let hint = match closest(text, words()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write one of {all}"),
        };
        source.reject(node.place, format!("`{text}` is not one of {all}"), hint)
    }

    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|(word, _)| (*word).into()).collect())
    }
}

impl<const N: usize, T: Copy + PartialEq> FormatDefault for Words<N, T> {
    fn format(&self, value: &T) -> String {
        self.0.iter().find(|(_, own)| own == value).map(|(word, _)| (*word).into()).unwrap_or_default()
    }
}

pub(super) struct Count<T>(RangeInclusive<u32>, PhantomData<T>);

pub(super) const fn count<T>(range: RangeInclusive<u32>) -> Count<T> {
    Count(range, PhantomData)
}

impl<T: TryFrom<u32>> Kind for Count<T> {
    type Value = T;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<T> {
        let expected = format!("a number from {} to {}", self.0.start(), self.0.end());
        match node.value {
            Value::Integer(number) => {
                let fits = u32::try_from(number).ok().filter(|number| self.0.contains(number));
                if let Some(number) = fits {
                    return T::try_from(number).ok();
                }
                source.reject(node.place, format!("{number} is not {expected}"), "choose one in that range")
            }
            Value::Text(_) => {
                let message = format!("expected {expected}, found text");
                source.reject(node.place, message, "write digits only, without quotes or a unit")
            }
            Value::Number => {
                source.reject(node.place, format!("expected {expected}"), "write a whole number")
            }
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                source.wrong_kind(node, &expected)
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Count((*self.0.start()).into()..=(*self.0.end()).into())
    }
}

impl<T: TryFrom<u32> + fmt::Display> FormatDefault for Count<T> {
    fn format(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A whole number from 0 to 100 and a `%`: `20%`.
pub(super) struct Percentage;

impl Kind for Percentage {
    type Value = u32;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<u32> {
        let hint = "write a whole number from 0 to 100, and `%`";
        let text = with_unit(source, node, PERCENTAGE, hint)?;
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let percentage =
            digits.and_then(|digits| digits.parse().ok()).filter(|percentage| *percentage <= 100);
        percentage
            .or_else(|| source.reject(node.place, format!("expected {PERCENTAGE}, found `{text}`"), hint))
    }

    fn shape(&self) -> Shape {
        Shape::pattern(PERCENTAGE, "^0*(100|[0-9]{1,2})%$")
    }
}

impl FormatDefault for Percentage {
    fn format(&self, value: &u32) -> String {
        format!("{value}%")
    }
}

/// A number and a unit: `500ms`, `5s`, `2m`, `1h`.
pub(super) struct Time(pub(super) RangeInclusive<Duration>);

impl Kind for Time {
    type Value = Duration;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<Duration> {
        let duration =
            Duration::from_millis(measure(source, node, "a duration such as 500ms, 3s or 2m", DURATIONS)?);
        if self.0.contains(&duration) {
            return Some(duration);
        }
        let message = format!("{} is outside {}", format_duration(duration), self.range());
        source.reject(node.place, message, "choose a value in that range")
    }

    fn shape(&self) -> Shape {
        Shape::pattern(&format!("a duration from {}", self.range()), "^[0-9]+(ms|s|m|h)$")
    }
}

impl Time {
    fn range(&self) -> String {
        format!("{} to {}", format_duration(*self.0.start()), format_duration(*self.0.end()))
    }
}

impl FormatDefault for Time {
    fn format(&self, value: &Duration) -> String {
        format_duration(*value)
    }
}

/// A number and a unit: `512B`, `16KiB`, `1MiB`; a bare number is bytes.
pub(super) struct Size(pub(super) RangeInclusive<u32>);

impl Kind for Size {
    type Value = usize;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<usize> {
        let bytes = if let Value::Integer(bytes) = node.value {
            bytes
        } else {
            measure(source, node, "a size such as 16KiB or 1MiB", SIZES)?
        };
        match u32::try_from(bytes) {
            Ok(fits) if self.0.contains(&fits) => usize::try_from(fits).ok(),
            Ok(_) | Err(_) => {
                let message = format!("{bytes} bytes is outside {}", self.range());
                source.reject(node.place, message, "choose a size in that range")
            }
        }
    }

    fn shape(&self) -> Shape {
        let bytes = Shape::Count((*self.0.start()).into()..=(*self.0.end()).into());
        let text = Shape::pattern(&format!("a size from {}", self.range()), "^[0-9]+(B|KiB|MiB)$");
        Shape::Either(vec![text, bytes])
    }
}

impl Size {
    fn range(&self) -> String {
        format!("{}KiB to {}KiB", self.0.start() / 1024, self.0.end() / 1024)
    }
}

impl FormatDefault for Size {
    fn format(&self, value: &usize) -> String {
        format_size(*value)
    }
}

/// Formats a size as in these files.
pub fn format_size(bytes: usize) -> String {
    let (unit, factor) = if bytes.is_multiple_of(1 << 20) { ("MiB", 1 << 20) } else { ("KiB", 1 << 10) };
    format!("{}{unit}", bytes / factor)
}

/// Formats a duration as in these files.
pub fn format_duration(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".into(),
        millis if millis % 1000 != 0 => format!("{millis}ms"),
        millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        millis => format!("{}s", millis / 1000),
    }
}

/// Reads digits and a unit, and returns their product.
fn measure(source: &SourceFile, node: &Node, what: &str, units: &[(&str, u64)]) -> Option<u64> {
    let all: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    let hint = format!("write a whole number and a unit: {}", all.join(", "));
    let text = with_unit(source, node, what, &hint)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let value = text.split_at_checked(digits).and_then(|(number, unit)| {
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    });
    value.or_else(|| source.reject(node.place, format!("expected {what}, found `{text}`"), hint))
}

/// Reads the text of a value with a unit.
pub(super) fn with_unit<'n>(
    source: &'n SourceFile,
    node: &'n Node<'n>,
    what: &str,
    hint: &str,
) -> Option<&'n str> {
    if matches!(node.value, Value::Integer(_) | Value::Number) {
        return source.reject(node.place, format!("expected {what}, found a number without unit"), hint);
    }
    text(source, node, what)
}

const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];
const PERCENTAGE: &str = "a percentage such as 20%";
const MOMENTS: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+(Z|z|[+-][0-9]{2}:[0-9]{2}))?$";
