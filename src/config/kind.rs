//! Kinds of values: how one is read, and what may be written, as data: of that the JSON Schema and the reference are made.

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

/// What may be written, as data.
pub(super) enum Shape {
    /// `1`, the version of the format.
    Version,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Count(RangeInclusive<u64>),
    /// Text of a pattern; what YAML takes for a number or a switch is text, too, where it may be `bare`.
    Text { what: String, pattern: &'static str, bare: bool },
    /// One of a few words.
    Words(Vec<String>),
    /// One of several shapes.
    Either(Vec<Self>),
    /// At least one item.
    List(Box<Self>),
    /// At least one entry, with names of the user's choice.
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

    /// Text that matches the pattern.
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
    /// The first key only with the second.
    Needs(&'static str, &'static str),
    /// One of the two keys at most.
    NotBoth(&'static str, &'static str),
}

pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it is: the comment in `config/full`, too.
    pub(super) about: String,
    pub(super) presence: Presence,
    pub(super) shape: Shape,
    /// Whether a reload takes a new value.
    pub(super) reloaded: bool,
}

/// Whether a key has to be written.
pub(super) enum Presence {
    /// It has to; an example.
    Required(&'static str),
    /// It need not; what holds then, where there is something to say.
    Absent(&'static str),
    /// It need not; what it is then, as it would be written.
    Default(String),
}
