//! Decodes mappings and lists. The only place that reports unknown, missing and repeated keys.

use super::kind::{Kind, Shape};
use super::names::closest;
use super::report::Position;
use super::source_file::{Located, SourceFile};
use super::yaml::{Node, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The keys of a section, each taken at most once.
pub(super) struct Fields<'n> {
    source: &'n SourceFile,
    place: Position,
    what: &'static str,
    known: &'static [&'static str],
    left: Vec<(&'n str, Position, &'n Node<'n>)>,
    /// The keys to read, if not all.
    only: Option<&'static [&'static str]>,
    /// The key that has already been read, if any.
    done: Option<&'static str>,
}

impl<'n> Fields<'n> {
    pub(super) fn of(
        source: &'n SourceFile,
        node: &'n Node<'n>,
        what: &'static str,
        known: &'static [&'static str],
    ) -> Option<Self> {
        let only = source.only(what);
        let left = if only.is_some_and(<[_]>::is_empty) { Vec::new() } else { entries(source, node, what)? };
        Some(Self { source, place: node.place, what, known, left, only, done: None })
    }

    pub(super) fn without(self, key: &'static str) -> Self {
        let left = self.left.into_iter().filter(|(k, ..)| *k != key).collect();
        Self { left, done: Some(key), ..self }
    }

    pub(super) fn finish(self) {
        for (key, place, _) in self.left.iter().filter(|_| self.only.is_none()) {
            let hint = match closest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None if self.known.is_empty() => format!("{} has no keys: write {{}}", self.what),
                None => format!("{} accepts: {}", self.what, self.known.join(", ")),
            };
            self.source.error(*place, format!("unknown key `{key}`"), hint);
        }
    }

    /// Reads an optional key. `None` also if the value is invalid, which is reported.
    pub(super) fn optional<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<K::Value> {
        if !self.matters(key) {
            return None;
        }
        let index = self.left.iter().position(|(k, ..)| *k == key)?;
        let (_, place, node) = self.left.remove(index);
        if matches!(node.value, Value::Null) {
            return self.source.reject(place, format!("`{key}` has no value"), "add one, or remove the key");
        }
        kind.read(self.source, node)
    }

    /// Reads a required key. The example shows what to write.
    pub(super) fn required<K: Kind>(
        &mut self,
        key: &'static str,
        example: &str,
        kind: &K,
    ) -> Option<K::Value> {
        let missing = self.left.iter().all(|(k, ..)| *k != key);
        if missing && self.matters(key) && self.done != Some(key) {
            let message = format!("{} needs `{key}`", self.what);
            self.source.error(self.place, message, format!("add `{key}: {example}`"));
        }
        self.optional(key, kind)
    }

    pub(super) fn count(&self) -> usize {
        self.left.len()
    }

    fn matters(&self, key: &str) -> bool {
        self.only.is_none_or(|only| only.contains(&key))
    }
}

pub(super) struct AtKey<K>(pub(super) K);

impl<K: Kind> Kind for AtKey<K> {
    type Value = Located<K::Value>;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value> {
        self.0.read(source, node).map(|value| Located { value, place: node.place })
    }

    fn shape(&self) -> Shape {
        self.0.shape()
    }
}

/// A list of at least one item. The text completes "expected …".
pub(super) struct List<K>(pub(super) &'static str, pub(super) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value> {
        Some(items(source, node, self.0, |node| self.1.read(source, node)))
    }

    fn shape(&self) -> Shape {
        Shape::List(self.1.shape().into())
    }
}

/// A mapping with user-defined names and at least one entry: what messages call it, the shape of a name, the kind of a
/// value.
pub(super) struct Named<K>(pub(super) &'static str, pub(super) fn() -> Shape, pub(super) K);

impl<K: Kind> Kind for Named<K> {
    type Value = Vec<(Located<Arc<str>>, Option<K::Value>)>;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value> {
        let entries = named(source, node, self.0).into_iter();
        Some(entries.map(|(name, node)| (name, self.2.read(source, node))).collect())
    }

    fn shape(&self) -> Shape {
        Shape::Named { name: (self.1)().into(), value: self.2.shape().into() }
    }
}

/// Reads the entries of a mapping with user-defined names, at least one.
pub(super) fn named<'n>(
    source: &'n SourceFile,
    node: &'n Node<'n>,
    what: &str,
) -> Vec<(Located<Arc<str>>, &'n Node<'n>)> {
    let entries = entries(source, node, what).unwrap_or_default();
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        let message = format!("expected at least one of {what}, found an empty mapping");
        source.error(node.place, message, "add at least one");
    }
    entries.into_iter().map(|(key, place, node)| (Located { value: key.into(), place }, node)).collect()
}

/// What is read of the items of a list: at least one.
pub(super) fn items<'n, T>(
    source: &SourceFile,
    node: &'n Node<'n>,
    what: &str,
    read: impl FnMut(&'n Node<'n>) -> Option<T>,
) -> Vec<T> {
    let nodes = list(source, node, what);
    // A large policy has many of these, most of them with one entry.
    let mut values = Vec::with_capacity(nodes.len());
    values.extend(nodes.iter().filter_map(read));
    values
}

/// Reads the items of a list, at least one.
pub(super) fn list<'n>(source: &SourceFile, node: &'n Node<'n>, what: &str) -> &'n [Node<'n>] {
    let Value::List(items) = &node.value else {
        let message = format!("expected {what}, found {}", node.value.kind());
        source.error(node.place, message, "start each item with `- `, or write [ITEM, ITEM]");
        return &[];
    };
    if items.is_empty() {
        source.error(node.place, format!("expected {what}, found an empty list"), "add at least one");
    }
    items
}

/// Returns the entries of a mapping. Keys that are not text, are empty or repeated are reported and left out.
fn entries<'n>(
    source: &'n SourceFile,
    node: &'n Node<'n>,
    what: &str,
) -> Option<Vec<(&'n str, Position, &'n Node<'n>)>> {
    let Value::Map(all) = &node.value else {
        let message = format!("expected a mapping for {what}, found {}", node.value.kind());
        let hint = "write `key: value`, indented below it or as { key: value }";
        return source.reject(node.place, message, hint);
    };
    let mut kept: Vec<(&str, Position, &Node)> = Vec::with_capacity(all.len());
    let mut first = HashMap::with_capacity(all.len());
    for (key, value) in all {
        let place = key.place;
        let Some(text) = source.key(key).or_else(|| source.wrong_kind(key, "a key")) else { continue };
        if text.is_empty() {
            source.error(place, "a key is empty", "give it a name");
        } else if text == "<<" {
            source.error(place, "merge keys (`<<`) are not allowed here", "write out the values");
        } else if let Some(first) = first.get(text) {
            let message = format!("duplicate key `{text}`, first at {}", source.format(*first));
            source.error(place, message, "remove one");
        } else {
            first.insert(text, place);
            kept.push((text, place, value));
        }
    }
    Some(kept)
}
