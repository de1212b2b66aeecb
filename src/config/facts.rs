//! Job facts of a test case. Keys of conditions, each with a value or a list of them.

use super::decode::{did_you_mean, named};
use super::report::Position;
use super::source_file::SourceFile;
use super::yaml::Node;
use crate::operation::CREATE;
use crate::policy::{Facts, Key};

/// The facts as they were written.
pub(super) struct ParsedFacts {
    place: Position,
    told: Vec<(Key, Vec<String>)>,
}

/// Reads them. What could not be read is missing and reported.
pub(super) fn read(source: &SourceFile, node: &Node) -> Option<ParsedFacts> {
    let facts = named(source, node, "the facts, such as { mpc:UserData: editor-api/7 }");
    let told = facts.into_iter().filter_map(|(name, node)| {
        let key = Key::parse(&name.value).filter(|key| key.is_fact());
        if key.is_none() {
            let keys = Key::ALL.into_iter().filter(|key| key.is_fact()).map(Key::as_str);
            let hint = did_you_mean(source, &name.value, keys);
            source.error(name.place, format!("`{}` is not a job fact", name.value), hint);
        }
        Some((key?, values(source, node)?))
    });
    Some(ParsedFacts { place: node.place, told: told.collect() })
}

/// One, or a list; none where the list is empty.
fn values(source: &SourceFile, node: &Node) -> Option<Vec<String>> {
    let value = |node: &Node| {
        let text = source.scalar(node).map(String::from);
        if text.is_none() {
            source.wrong_kind(node, "a value, a list of values, or [] for none");
        }
        text
    };
    node.one_or_more().iter().map(value).collect()
}

impl ParsedFacts {
    /// What is known of the job by these, for a call that needs this action.
    pub(super) fn resolve(&self, source: &SourceFile, action: &str) -> Option<Facts> {
        let given = if action == CREATE { Facts::given_to_create } else { Facts::given };
        given(&self.told)
            .map_err(|error| source.error(self.place, error.to_string(), "tell of what such a job can have"))
            .ok()
    }

    /// Nothing is told.
    pub(super) fn nothing(place: Position) -> Self {
        Self { place, told: Vec::new() }
    }
}
