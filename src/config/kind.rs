//! Kinds of values: their readers, and their shapes, from which the JSON Schema and the reference are generated.

use super::source_file::SourceFile;
use super::yaml::Node;
use std::ops::RangeInclusive;

/// A kind of value: its reader and its shape.
pub(super) trait Kind {
    type Value;

    /// Reads a value. `None` if it is invalid, which is reported.
    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value>;

    fn shape(&self) -> Shape;
}

/// A kind whose values can be defaults.
pub(super) trait FormatDefault: Kind {
    /// Formats a value as written.
    fn format(&self, value: &Self::Value) -> String;
}

/// A kind with a reader of its own.
pub(super) struct CustomKind<T> {
    read: fn(&SourceFile, &Node) -> Option<T>,
    shape: fn() -> Shape,
}

pub(super) const fn own<T>(read: fn(&SourceFile, &Node) -> Option<T>, shape: fn() -> Shape) -> CustomKind<T> {
    CustomKind { read, shape }
}

/// Returns the shape of a kind with values of this type.
pub(super) fn shape_of<T>(kind: &impl Kind<Value = T>) -> Shape {
    kind.shape()
}

impl<T> Kind for CustomKind<T> {
    type Value = T;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<T> {
        (self.read)(source, node)
    }

    fn shape(&self) -> Shape {
        (self.shape)()
    }
}

/// The shape of a value.
pub(super) enum Shape {
    /// `1`, the version of the format.
    Version,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Count(RangeInclusive<u64>),
    /// Text that matches a pattern. With `bare`, what YAML takes for a number or a boolean is text, too.
    Text { what: String, pattern: &'static str, bare: bool },
    /// One of a few words.
    Words(Vec<String>),
    /// One of several shapes.
    Either(Vec<Self>),
    /// At least one item.
    List(Box<Self>),
    /// At least one entry, with user-defined names.
    Named { name: Box<Self>, value: Box<Self> },
    /// At least one entry, with one of these names.
    Known { what: &'static str, entries: Vec<(String, Self)> },
    /// A section.
    Section { about: String, keys: Vec<Key>, rules: &'static [Rule] },
}

impl Shape {
    /// Text of any characters.
    pub(super) fn text(what: &str) -> Self {
        Self::bare(what, "")
    }

    /// Returns the shape of text that matches a pattern.
    pub(super) fn pattern(what: &str, pattern: &'static str) -> Self {
        Self::Text { what: what.into(), pattern, bare: false }
    }

    /// Text that matches the pattern, and may look like a number or a switch.
    pub(super) fn bare(what: &str, pattern: &'static str) -> Self {
        Self::Text { what: what.into(), pattern, bare: true }
    }

    pub(super) fn words(&self) -> String {
        let spelled =
            |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Version => "`1`".into(),
            Self::Switch => "`true` or `false`".into(),
            Self::Count(range) => format!("a number from {} to {}", range.start(), range.end()),
            Self::Text { what, .. } => what.clone(),
            Self::Words(words) => spelled(words),
            Self::Either(shapes) => shapes.iter().map(Self::words).collect::<Vec<_>>().join(", or "),
            Self::List(item) => format!("a list, each item {}", item.words()),
            Self::Named { .. } => "a mapping with names of your choice".into(),
            Self::Known { what, .. } => (*what).into(),
            Self::Section { .. } => "a mapping".into(),
        }
    }
}

/// A rule about the keys of a section.
pub(super) enum Rule {
    /// Exactly one of its keys.
    One,
    /// At least one of its keys.
    Some,
    /// The first key needs the second.
    Needs(&'static str, &'static str),
    /// At most one of the two keys.
    NotBoth(&'static str, &'static str),
}

pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its description, which is also the comment in `config/full`.
    pub(super) about: String,
    pub(super) presence: Presence,
    pub(super) shape: Shape,
    /// Whether a reload applies a new value.
    pub(super) reloaded: bool,
}

/// Whether a key is required.
pub(super) enum Presence {
    /// It is required. Holds an example.
    Required(&'static str),
    /// It is optional. Holds what applies without it, if worth saying.
    Absent(&'static str),
    /// It is optional. Holds the default as it would be written.
    Default(String),
}
