//! Writes one JSON object on one line, field by field.
//!
//! Most texts of a record need no escapes, and its names never do, so they are copied. A general serializer would examine
//! each byte.

use std::{cell::RefCell, fmt::Debug};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::clock::PerSecond;

/// The name of a field with its punctuation; see [`name`]. It needs no escapes.
pub(super) type Name = &'static str;

/// Turns a name into its form in a line, after another field.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use name;

/// A line that is being written.
pub(super) struct Line(Vec<u8>);

impl Line {
    /// Begins a line.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(TYPICAL_LINE))
    }

    /// Adds a text.
    pub(super) fn text<T: AsRef<str> + Copy>(&mut self, name: Name, value: Option<T>) {
        match value.as_ref().map(AsRef::as_ref) {
            Some(text) if !is_plain(text) => {
                self.name(name);
                self.json(&text);
            }
            text => self.word(name, text),
        }
    }

    /// Adds a text of ours, which needs no escapes.
    pub(super) fn word(&mut self, name: Name, value: Option<&str>) {
        self.name(name);
        match value {
            Some(text) => {
                self.0.push(b'"');
                self.0.extend_from_slice(text.as_bytes());
                self.0.push(b'"');
            }
            None => self.0.extend_from_slice(NULL),
        }
    }

    /// Adds an optional text that few lines have.
    pub(super) fn text_if_any<T: AsRef<str> + Copy>(&mut self, name: Name, value: Option<T>) {
        if value.is_some() {
            self.text(name, value);
        }
    }

    /// Adds an optional text if the line has room for it. Only ids and facts may follow.
    pub(super) fn text_if_room(&mut self, name: Name, value: Option<&str>) {
        let before = self.0.len();
        self.text_if_any(name, value);
        if self.0.len() + WITHOUT_FACTS > MAX_LINE {
            self.0.truncate(before);
        }
    }

    /// Adds a number.
    pub(super) fn number<T: Serialize + Debug + Copy>(&mut self, name: Name, value: Option<T>) {
        self.name(name);
        self.json(&value);
    }

    /// Adds an optional number that few lines have.
    pub(super) fn number_if_any<T: Serialize + Debug + Copy>(&mut self, name: Name, value: Option<T>) {
        if value.is_some() {
            self.number(name, value);
        }
    }

    /// Adds a list of texts that need no escapes, as many as the line has room for. Only facts may follow.
    pub(super) fn words_if_any(&mut self, name: Name, words: &[String]) {
        if words.is_empty() {
            return;
        }
        self.name(name);
        let mut mark = b'[';
        for word in words {
            // Including the quotes and the comma.
            if self.0.len() + word.len() + 3 + WITHOUT_FACTS > MAX_LINE {
                break;
            }
            self.0.push(mark);
            self.0.push(b'"');
            self.0.extend_from_slice(word.as_bytes());
            self.0.push(b'"');
            mark = b',';
        }
        self.0.extend_from_slice(if mark == b'[' { b"[]" } else { b"]" });
    }

    /// Adds an optional document as the last field; of an object as many members as the line has room for.
    pub(super) fn document_if_any(&mut self, name: Name, value: Option<&Value>) {
        let Some(value) = value else { return };
        self.name(name);
        let Value::Object(members) = value else {
            self.json(value);
            return;
        };
        self.0.push(b'{');
        let first = self.0.len();
        for (name, value) in members {
            let before = self.0.len();
            if before > first {
                self.0.push(b',');
            }
            self.json(name);
            self.0.push(b':');
            self.json(value);
            if self.0.len() + RECORD_END.len() > MAX_LINE {
                self.0.truncate(before);
            }
        }
        self.0.push(b'}');
    }

    /// Adds a time, to the millisecond.
    pub(super) fn moment(&mut self, name: Name, moment: DateTime<Utc>) {
        self.name(name);
        self.0.push(b'"');
        SECOND.with_borrow_mut(|last| self.0.extend_from_slice(last.of(moment, second).as_bytes()));
        // A leap second has more than a thousand milliseconds.
        let milliseconds = moment.timestamp_subsec_millis().min(999);
        let digit = |unit: u32| b'0' + u8::try_from(milliseconds / unit % 10).unwrap_or_default();
        self.0.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z', b'"']);
    }

    /// Ends the line.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(END);
        self.0
    }

    fn name(&mut self, name: Name) {
        let start = self.0.len();
        self.0.extend_from_slice(name.as_bytes());
        if start == 0 {
            // The first field has no comma before it.
            self.0.iter_mut().take(1).for_each(|comma| *comma = b'{');
        }
    }

    fn json<T: Serialize + Debug>(&mut self, value: &T) {
        let start = self.0.len();
        // Writing a text or a number to a vector cannot fail. If it did, half a value would be worse than none.
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(NULL);
        }
    }
}

/// Formats a second as in RFC 3339, without fraction and offset.
fn second(moment: DateTime<Utc>) -> String {
    let mut text = moment.to_rfc3339_opts(SecondsFormat::Secs, true);
    text.pop();
    text
}

thread_local! {
    static SECOND: RefCell<PerSecond<String>> = RefCell::default();
}

/// Whether a text needs no escapes in JSON. Without an early exit, so that it can be vectorised.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |special, byte| special | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

/// The maximum length of a line: every field is bounded, and facts get what the others leave.
pub(super) const MAX_LINE: usize = 4096;
const END: &[u8] = b"}\n";
/// The minimum room left after the fields before the facts.
const WITHOUT_FACTS: usize = 64;
/// The end of a document and of the line.
const RECORD_END: &[u8] = b"}}\n";
const NULL: &[u8] = b"null";
/// The initial capacity. Most lines are shorter.
const TYPICAL_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every text is written as a general serializer writes it.
        #[test]
        fn texts_are_written_as_json_has_them(text in any::<String>(), plain in "[ -~]{0,40}") {
            for text in [text, plain] {
                let mut line = Line::new();
                line.text(name!("a"), Some(&text));
                line.text(name!("b"), None::<&str>);
                let expected = serde_json::to_string(&text).unwrap();
                prop_assert_eq!(String::from_utf8(line.finish()).unwrap(), format!("{{\"a\":{expected},\"b\":null}}\n"));
            }
        }
    }

    proptest! {
        #[test]
        fn a_moment_is_written_as_chrono_writes_it(millis in prop::collection::vec(-62_167_219_200_000_i64..253_402_300_800_000, 1..4)) {
            for millis in millis.iter().flat_map(|millis| [*millis, *millis, millis + 1]) {
                let moment = DateTime::from_timestamp_millis(millis).unwrap();
                let mut line = Line::new();
                line.moment(name!("a"), moment);
                let expected = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
                prop_assert_eq!(String::from_utf8(line.finish()).unwrap(), format!("{{\"a\":\"{expected}\"}}\n"));
            }
        }
    }

    #[test]
    fn numbers_are_numbers() {
        let mut line = Line::new();
        line.number(name!("a"), Some(7_u16));
        line.number(name!("b"), Some(1.5));
        line.number(name!("c"), None::<u16>);
        line.number(name!("d"), Some(f64::NAN));
        assert_eq!(line.finish(), b"{\"a\":7,\"b\":1.5,\"c\":null,\"d\":null}\n");
    }
}
