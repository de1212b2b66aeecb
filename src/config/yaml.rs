//! The only YAML parser of the program.
//!
//! It returns [`Node`]s with positions. It keeps what readers must judge (repeated keys, null values, keys that are not
//! text), and rejects what no configuration needs: anchors, aliases, tags, a second document.

use super::report::Position;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{DefaultMessageFormatter, Error, MessageFormatter, Spanned, Tagged};
use std::borrow::Cow;
use std::fmt;
use std::mem::take;

/// A value with its position. A large policy has hundreds of thousands of these, so they are small and borrow their texts.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) value: Value<'t>,
    pub(super) place: Position,
    /// Its offset and length in the text, in bytes.
    span: (u32, u32),
    tag: bool,
}

#[derive(Debug)]
pub(super) enum Value<'t> {
    /// `~`, `null`, or a missing value.
    Null,
    Bool(bool),
    /// A whole number from 0.
    Integer(u64),
    /// Any other number: negative, with a fraction, too large.
    Number,
    Text(Cow<'t, str>),
    List(Box<[Node<'t>]>),
    /// A mapping in the order of the file. A key may be repeated.
    Map(Box<[(Node<'t>, Node<'t>)]>),
}

/// Why a text is not valid YAML.
#[derive(Debug)]
pub(super) struct SyntaxProblem {
    pub(super) place: Option<Position>,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

pub(super) fn parse(text: &str) -> Result<Node<'_>, SyntaxProblem> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_aliases: 0, max_anchors: 0, max_depth: 16, max_nodes: 400_000 },
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let root: Node<'_> =
        serde_yaml::from_str_with_options(text, options).map_err(|error| explain(&error, text))?;
    if let Some(place) = root.first_tag() {
        return Err(SyntaxProblem {
            place: Some(place),
            message: "a tag (`!…`) is not allowed here".into(),
            hint: "remove it, or quote the value if it starts with `!`",
        });
    }
    if matches!(root.value, Value::Null) {
        return Err(SyntaxProblem {
            place: None,
            message: "the file is empty".into(),
            hint: "start it with `version: 1`",
        });
    }
    Ok(root)
}

fn explain(error: &Error, text: &str) -> SyntaxProblem {
    let place = error.location().map(|l| Position::at(l.line(), l.column())).filter(|p| p.line > 0);
    let of = |message: &str, hint| SyntaxProblem { place, message: message.into(), hint };
    if let Error::MultipleDocuments { .. } = error {
        return of("only one document is allowed per file", "remove the `---` and everything after it");
    }
    if let Error::Budget { breach, .. } = error {
        if matches!(breach, BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }) {
            return of(ANCHOR, ANCHOR_HINT);
        }
        return of("too large, or nested too deeply", "check that this is the right file");
    }
    let marks_anchor = || place.is_some_and(|place| matches!(character_at(text, place), Some('*' | '&')));
    if matches!(error, Error::UnknownAnchor { .. }) || marks_anchor() {
        return of(ANCHOR, ANCHOR_HINT);
    }
    if let Some(tab) = place.and_then(|before| first_tab(text, before)) {
        let message = "a tab where YAML needs spaces".into();
        return SyntaxProblem { place: Some(tab), message, hint: "indent with spaces only" };
    }
    let message = DefaultMessageFormatter.format_message(error);
    let known = SYNTAX.iter().find(|(theirs, ..)| message.contains(theirs));
    match known {
        Some((_, ours, hint)) => of(ours, hint),
        None => of(&format!("not valid YAML: {message}"), "check this line and the one before it"),
    }
}

fn character_at(text: &str, place: Position) -> Option<char> {
    let nth = |n: u32| usize::try_from(n.checked_sub(1)?).ok();
    text.lines().nth(nth(place.line)?)?.chars().nth(nth(place.column)?)
}

/// Finds the first line that is indented with a tab.
fn first_tab(text: &str, before: Position) -> Option<Position> {
    // The parser may stop on the line before the tab.
    (1..=before.line + 1).zip(text.lines()).find_map(|(line, content)| {
        let indent = content.find(|c: char| !c.is_whitespace()).unwrap_or(content.len());
        let tab = content.get(..indent)?.find('\t')?;
        Some(Position { line, column: 1 + u32::try_from(tab).ok()? })
    })
}

impl Value<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Number => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'t> Node<'t> {
    /// Takes the items of the list under this key, so that the reader can drop each once it is read, and reuse the memory.
    pub(super) fn take_items(&mut self, key: &str) -> Box<[Self]> {
        let Value::Map(fields) = &mut self.value else { return Box::default() };
        let is_it = |(name, _): &&mut (Self, Self)| matches!(&name.value, Value::Text(text) if text == key);
        match fields.iter_mut().find(is_it) {
            Some((_, Self { value: Value::List(items), .. })) => take(items),
            Some(_) | None => Box::default(),
        }
    }

    /// Returns the items of a list, or the single value.
    pub(super) fn one_or_more(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { std::slice::from_ref(self) }
    }

    /// Returns the value under this key of a mapping, if present.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(fields) = &self.value else { return None };
        let is_it = |(name, _): &&(Self, Self)| matches!(&name.value, Value::Text(text) if text == key);
        fields.iter().find(is_it).map(|(_, value)| value)
    }

    /// Returns its source text.
    pub(super) fn parsed<'w>(&self, text: &'w str) -> &'w str {
        let (start, length) = (self.span.0 as usize, self.span.1 as usize);
        text.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default().trim()
    }

    fn first_tag(&self) -> Option<Position> {
        if self.tag {
            return Some(self.place);
        }
        match &self.value {
            Value::List(items) => items.iter().find_map(Self::first_tag),
            Value::Map(fields) => {
                fields.iter().find_map(|(key, value)| key.first_tag().or_else(|| value.first_tag()))
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Tagged(value, tag), referenced, .. } =
            Spanned::<Tagged<Value<'_>>>::deserialize(deserializer)?;
        let place = Position::at(referenced.line(), referenced.column());
        let bytes =
            |count: Option<u64>| count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
        let span = referenced.span();
        let span = (bytes(span.byte_offset()), bytes(span.byte_len()));
        Ok(Self { value, place, span, tag: tag.is_some() })
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number)
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map.into()))
    }
}

const ANCHOR: &str = "anchors (`&name`) and aliases (`*name`) are not allowed here";
const ANCHOR_HINT: &str = "write the value out; quote text that starts with `*` or `&`, as in \"*\"";
/// The parser's messages, with clearer ones and hints.
const SYNTAX: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "unexpected `:`: no key can be here",
        "indent this line like its neighbours; check the line before for a missing `:`; quote a value that contains `: `",
    ),
    (
        "did not find expected key",
        "no key above starts in this column",
        "indent this line like the keys it belongs to",
    ),
    (
        "did not find expected '-' indicator",
        "unexpected end of list",
        "start every list item with `- ` in the same column, or fix this line's indentation",
    ),
    ("simple key expected", "a `:` is missing here", "write `key: value`, with a space after the `:`"),
    ("unclosed bracket", "missing closing bracket", "close it; the file may be truncated"),
    ("unclosed quote", "missing closing quote", "close it; the file may be truncated"),
    ("did not find expected ',' or", "a `,` or a closing bracket is missing before this", "add it"),
    ("trailing content after", "unexpected text after a closing quote", "quote the whole value"),
    ("unexpected character", "a value cannot start with this character", "quote the value"),
];
