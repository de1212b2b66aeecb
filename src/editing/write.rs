//! Writes JSON in ASCII, in one spelling and without spaces.
//!
//! It does not depend on an encoding, and keeps the order of members and the tokens of numbers.

use std::fmt::Write;

use super::json::{Node, Value};

/// Appends a value.
pub(super) fn value(out: &mut String, node: &Node<'_>) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(token) => out.push_str(token),
        Value::Text(content) => text(out, content),
        Value::List(nodes) => {
            out.push('[');
            for (at, node) in nodes.iter().enumerate() {
                separate(out, at);
                value(out, node);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, member) in members.iter().enumerate() {
                separate(out, at);
                text(out, &member.name);
                out.push(':');
                value(out, &member.node);
            }
            out.push('}');
        }
    }
}

/// Appends a text in quotes.
pub(super) fn text(out: &mut String, content: &str) {
    out.push('"');
    let mut rest = content;
    while let Some(at) = rest.bytes().position(is_escaped) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").ok();
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn is_escaped(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\'
}

fn separate(out: &mut String, at: usize) {
    if at > 0 {
        out.push(',');
    }
}
