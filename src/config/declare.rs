//! Declares each key of the files once, in a table.
//!
//! [`section!`] turns the table of a mapping into the struct of its values, the only reader of that mapping, and the
//! [`Shape`] from which the JSON Schema (`schema`) and docs/CONFIGURATION.md are generated. The comments in `config/full`
//! are compared with it. A key that is in no table cannot be read, and a field without a kind, a default or a description
//! does not compile.

use super::decode::Fields;
/// What sections are declared with.
pub(super) use super::{
    decode::{AtKey, List, Named, items, list, named},
    kind::{CustomKind, FormatDefault, Kind, Rule, Shape, own},
    scalar::{self, Count, MOMENT, NAME, Percentage, Size, Switch, Text, Time, VERSION, Words, count},
    source_file::{Located, SourceFile},
    yaml::{Node, Value},
};

/// A mapping with declared keys. Only [`section!`] implements it.
pub(super) trait Section: Sized {
    /// Its name in messages, such as `a project`.
    const WHAT: &'static str;
    /// Its keys in order.
    const NAMES: &'static [&'static str];

    fn take(fields: &mut Fields<'_>) -> Self;

    fn shape() -> Shape;

    fn fields<'n>(source: &'n SourceFile, node: &'n Node<'n>) -> Option<Fields<'n>> {
        Fields::of(source, node, Self::WHAT, Self::NAMES)
    }

    /// Takes all keys, and reports unknown ones.
    fn of(mut fields: Fields<'_>) -> Self {
        let section = Self::take(&mut fields);
        fields.finish();
        section
    }

    /// Reads a mapping with exactly one key, and reports any other; `more` follows the keys in the hint.
    fn read_one(source: &SourceFile, node: &Node, message: &str, more: &str) -> Option<Self> {
        let fields = Self::fields(source, node)?;
        let written = fields.count();
        let section = Self::of(fields);
        if written != 1 {
            let hint = format!("write one of {}{more}", Self::NAMES.join(", "));
            return source.reject(node.place, message, hint);
        }
        Some(section)
    }

    fn read(source: &SourceFile, node: &Node) -> Option<Self> {
        Self::fields(source, node).map(Self::of)
    }
}

/// The kind of a section without a reader of its own.
pub(super) const fn nested<S: Section>() -> CustomKind<S> {
    own(S::read, S::shape)
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
    (@presence $kind:expr, required $example:expr) => { $crate::config::kind::Presence::Required($example) };
    (@presence $kind:expr, several $example:expr) => { $crate::config::kind::Presence::Required($example) };
    (@presence $kind:expr, keys $absent:expr) => { $crate::config::kind::Presence::Absent($absent) };
    (@presence $kind:expr, optional $absent:expr) => { $crate::config::kind::Presence::Absent($absent) };
    (@presence $kind:expr, default $value:expr) => {
        $crate::config::kind::Presence::Default($crate::config::kind::FormatDefault::format(&$kind, &$value))
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

            fn shape() -> $crate::config::kind::Shape {
                $crate::config::kind::Shape::Section {
                    about: concat!($($about),+).trim().into(),
                    keys: vec![$($crate::config::kind::Key {
                        name: stringify!($key),
                        about: concat!($($says),+).trim().into(),
                        presence: section!(@presence $kind, $presence $given),
                        shape: $crate::config::kind::shape_of::<$T>(&$kind),
                        reloaded: [$(stringify!($reloaded),)?].first().is_some_and(|_: &&str| true),
                    }),*],
                    rules: &[$($($rule),+)?],
                }
            }
        }

        /// The values if nothing is written.
        impl Default for $Name {
            fn default() -> Self {
                Self { $($key: section!(@else $presence $given),)* }
            }
        }
    };
}
pub(super) use section;
