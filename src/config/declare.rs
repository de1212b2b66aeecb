//! Declarations of keys: each key of the files stands in one table, and everything about it follows from there.
//!
//! [`section!`] takes the table of a mapping and makes of it the struct that holds what was written, the only reader of
//! that mapping, and the [`Shape`] from which the JSON Schema (`schema`) and docs/CONFIGURATION.md are written. The
//! comments in `config/full` are compared with it. A key that is in no table cannot be read, and a field without a kind,
//! a default or a description does not compile.

use super::decode::Fields;
use super::source_file::SourceFile;
use super::yaml::Node;
use std::ops::RangeInclusive;

/// How a value is written: its reader, and its shape.
pub(super) trait Kind {
    /// What is read.
    type Value;

    /// Reads a value. `None` where it is wrong, which is reported.
    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value>;

    /// What may be written.
    fn shape(&self) -> Shape;
}

/// A kind whose values can be defaults.
pub(super) trait FormatDefault: Kind {
    /// How the value is written.
    fn format(&self, value: &Self::Value) -> String;
}

/// A mapping with keys of our choice. Made by [`section!`] alone.
pub(super) trait Section: Sized {
    /// What messages call it: `a project`.
    const WHAT: &'static str;
    /// Its keys, in their order.
    const NAMES: &'static [&'static str];

    /// Takes the keys.
    fn take(fields: &mut Fields<'_>) -> Self;

    /// The table, as data.
    fn shape() -> Shape;

    /// Reads the mapping.
    fn read(source: &SourceFile, node: &Node) -> Option<Self> {
        Fields::of::<Self>(source, node).map(Fields::read)
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
    /// Text in one word or several, of any characters.
    pub(super) fn text(what: &str) -> Self {
        Self::Text { what: what.into(), pattern: "", bare: true }
    }

    /// Text that matches the pattern.
    pub(super) fn pattern(what: &str, pattern: &'static str) -> Self {
        Self::Text { what: what.into(), pattern, bare: false }
    }
}

impl Shape {
    /// What to write, in words.
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

/// What a section asks for besides its keys.
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

/// A key, as it is declared.
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

/// A kind with a reader of its own.
pub(super) struct CustomKind<T> {
    read: fn(&SourceFile, &Node) -> Option<T>,
    shape: fn() -> Shape,
}

/// A kind with this reader and shape.
pub(super) const fn own<T>(read: fn(&SourceFile, &Node) -> Option<T>, shape: fn() -> Shape) -> CustomKind<T> {
    CustomKind { read, shape }
}

/// The shape of a kind, whose values are of this type.
pub(super) fn shape_of<T>(kind: &impl Kind<Value = T>) -> Shape {
    kind.shape()
}

/// The kind of a section that means what is written in it.
pub(super) const fn nested<S: Section>() -> CustomKind<S> {
    CustomKind { read: S::read, shape: S::shape }
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

/// Declares a section: a struct, what messages call it, its rules if any, and its keys. A key is
///
/// ```text
/// /// What it is, in a sentence: also the comment in `config/full`.
/// name: Type = KIND, required("EXAMPLE"), reloaded;
/// ```
///
/// `required` and `optional` (with what holds in its absence) make a field of `Option<Type>`, `default` (with the value)
/// one of `Type`. So do `several` (required, with an example) and `keys` (with what holds in its absence), which are empty
/// or what the type defaults to where nothing was read. Without `reloaded` a change needs a restart.
macro_rules! section {
    (@type required $T:ty) => { Option<$T> };
    (@type optional $T:ty) => { Option<$T> };
    (@type several $T:ty) => { $T };
    (@type keys $T:ty) => { $T };
    (@type default $T:ty) => { $T };
    (@read $fields:ident $key:expr, $kind:expr, required $example:expr) => {
        $fields.required($key, $example, &$kind)
    };
    (@read $fields:ident $key:expr, $kind:expr, several $example:expr) => {
        $fields.required($key, $example, &$kind).unwrap_or_default()
    };
    (@read $fields:ident $key:expr, $kind:expr, keys $absent:expr) => {
        $fields.optional($key, &$kind).unwrap_or_default()
    };
    (@read $fields:ident $key:expr, $kind:expr, optional $absent:expr) => { $fields.optional($key, &$kind) };
    (@read $fields:ident $key:expr, $kind:expr, default $value:expr) => {
        $fields.optional($key, &$kind).unwrap_or($value)
    };
    (@else required $example:expr) => { None };
    (@else several $example:expr) => { Default::default() };
    (@else keys $absent:expr) => { Default::default() };
    (@else optional $absent:expr) => { None };
    (@else default $value:expr) => { $value };
    (@presence $kind:expr, required $example:expr) => { $crate::config::declare::Presence::Required($example) };
    (@presence $kind:expr, several $example:expr) => { $crate::config::declare::Presence::Required($example) };
    (@presence $kind:expr, keys $absent:expr) => { $crate::config::declare::Presence::Absent($absent) };
    (@presence $kind:expr, optional $absent:expr) => { $crate::config::declare::Presence::Absent($absent) };
    (@presence $kind:expr, default $value:expr) => {
        $crate::config::declare::Presence::Default($crate::config::declare::FormatDefault::format(&$kind, &$value))
    };
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        $vis:vis struct $Name:ident, $what:literal $(, [$($rule:expr),+])? {
            $(
                $(#[doc = $says:literal])+
                $key:ident: $T:ty = $kind:expr, $presence:ident($given:expr) $(, $reloaded:ident)?;
            )*
        }
    ) => {
        $(#[doc = $about])+
        $(#[derive($($derive),+)])?
        $vis struct $Name {
            $($(#[doc = $says])+ $vis $key: section!(@type $presence $T),)*
        }

        impl $crate::config::declare::Section for $Name {
            const WHAT: &'static str = $what;
            const NAMES: &'static [&'static str] = &[$(stringify!($key)),*];

            fn take(_fields: &mut $crate::config::decode::Fields<'_>) -> Self {
                Self { $($key: section!(@read _fields stringify!($key), $kind, $presence $given),)* }
            }

            fn shape() -> $crate::config::declare::Shape {
                $crate::config::declare::Shape::Section {
                    about: concat!($($about),+).trim().into(),
                    keys: vec![$($crate::config::declare::Key {
                        name: stringify!($key),
                        about: concat!($($says),+).trim().into(),
                        presence: section!(@presence $kind, $presence $given),
                        shape: $crate::config::declare::shape_of::<$T>(&$kind),
                        reloaded: [$(stringify!($reloaded),)?].first().is_some_and(|_: &&str| true),
                    }),*],
                    rules: &[$($($rule),+)?],
                }
            }
        }

        /// What holds where nothing is written.
        impl Default for $Name {
            fn default() -> Self {
                Self { $($key: section!(@else $presence $given),)* }
            }
        }
    };
}
pub(super) use section;
