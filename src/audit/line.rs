//! One JSON object on one line, written field by field.
//!
//! Most texts of a record need no escapes, and its names never do: they are copied, where a serializer of any document
//! looks at each byte.

use std::fmt::Debug;

use serde::Serialize;

/// A line that is being written.
pub(super) struct Line(Vec<u8>);

impl Line {
    /// Begins a line.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(USUAL))
    }

    /// Adds a text. The name is one of ours, and needs no escapes.
    pub(super) fn text<T: AsRef<str> + Copy>(&mut self, name: &'static str, value: Option<T>) {
        self.name(name);
        match value.as_ref().map(AsRef::as_ref) {
            Some(text) if is_plain(text) => {
                self.0.push(b'"');
                self.0.extend_from_slice(text.as_bytes());
                self.0.push(b'"');
            }
            text => self.json(&text),
        }
    }

    /// Adds a number.
    pub(super) fn number<T: Serialize + Debug + Copy>(&mut self, name: &'static str, value: Option<T>) {
        self.name(name);
        self.json(&value);
    }

    /// Ends the line.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"}\n");
        self.0
    }

    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn json<T: Serialize + Debug>(&mut self, value: &T) {
        let start = self.0.len();
        // A text or a number can always be written to a Vec. Were it not so, half a value is worse than none.
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
    }
}

/// Whether JSON has this text as it is. Written without a way out early, so that it looks at many bytes at once.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |special, byte| special | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

/// Most lines are shorter.
const USUAL: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a text looks, it is written as a serializer of documents writes it.
        #[test]
        fn texts_are_written_as_json_has_them(text in any::<String>(), plain in "[ -~]{0,40}") {
            for text in [text, plain] {
                let mut line = Line::new();
                line.text("a", Some(&text));
                line.text("b", None::<&str>);
                let expected = serde_json::to_string(&text).unwrap();
                prop_assert_eq!(String::from_utf8(line.finish()).unwrap(), format!("{{\"a\":{expected},\"b\":null}}\n"));
            }
        }
    }

    #[test]
    fn numbers_are_numbers() {
        let mut line = Line::new();
        line.number("a", Some(7_u16));
        line.number("b", Some(1.5));
        line.number("c", None::<u16>);
        line.number("d", Some(f64::NAN));
        assert_eq!(line.finish(), b"{\"a\":7,\"b\":1.5,\"c\":null,\"d\":null}\n");
    }
}
