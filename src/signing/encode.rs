//! Canonical URL encoding: decodes once, then encodes every part again.
//!
//! Ambiguous text is rejected, never repaired. `.`, `..` and empty segments stay, because the gateway keeps them, too.

use std::borrow::Cow;

/// Why a path or query has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A request line cannot contain it: a path without `/` at its start, a space, a `#`, a `?` in a path.
    #[error("has a character not allowed in a request line")]
    NotOnTheWire,
    /// A `%` without two hexadecimal digits after it.
    #[error("has a `%` not followed by two hexadecimal digits")]
    BrokenEscape,
    /// The decoded bytes are not UTF-8.
    #[error("does not decode to UTF-8")]
    NotUtf8,
    /// A control character, raw or decoded.
    #[error("contains a control character")]
    ControlCharacter,
    /// A query with an empty parameter.
    #[error("has an empty parameter")]
    EmptyParameter,
}

/// Appends the canonical URI: each segment encoded again, with a final `/`.
///
/// An escaped slash becomes a separator, so `a%2Fb` and `a/b` have the same signature.
pub(super) fn push_path(out: &mut String, raw: &str) -> Result<(), EncodeError> {
    if !raw.starts_with('/') || raw.contains('?') {
        return Err(EncodeError::NotOnTheWire);
    }
    push_encoded(out, &decode(raw)?, is_of_paths);
    if !out.ends_with('/') {
        out.push('/');
    }
    Ok(())
}

/// Appends the canonical query: `name=value` for every parameter, sorted by the decoded name, then value.
///
/// A `+` is a plus, not a space: this is percent-encoding, not a form.
pub(super) fn push_query(out: &mut String, raw: &str) -> Result<(), EncodeError> {
    if raw.is_empty() {
        return Ok(());
    }
    let mut parameters = raw.split('&').map(decode_parameter).collect::<Result<Vec<_>, _>>()?;
    parameters.sort_unstable();
    for (i, (name, value)) in parameters.iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        push_encoded(out, name, is_unreserved);
        out.push('=');
        push_encoded(out, value, is_unreserved);
    }
    Ok(())
}

fn decode_parameter(raw: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), EncodeError> {
    if raw.is_empty() {
        return Err(EncodeError::EmptyParameter);
    }
    let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
    Ok((decode(name)?, decode(value)?))
}

/// Decodes percent escapes once. Returns text without any as it is.
fn decode(raw: &str) -> Result<Cow<'_, str>, EncodeError> {
    if raw.bytes().all(is_of_paths) {
        return Ok(Cow::Borrowed(raw));
    }
    if raw.contains([' ', '#']) {
        return Err(EncodeError::NotOnTheWire);
    }
    let decoded = match raw.contains('%') {
        true => Cow::Owned(unescape(raw)?),
        false => Cow::Borrowed(raw),
    };
    match decoded.contains(char::is_control) {
        true => Err(EncodeError::ControlCharacter),
        false => Ok(decoded),
    }
}

fn unescape(raw: &str) -> Result<String, EncodeError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escaped_byte(&mut bytes).ok_or(EncodeError::BrokenEscape)?,
            _ => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| EncodeError::NotUtf8)
}

/// Decodes the next two hexadecimal digits.
fn escaped_byte(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    u8::try_from(digit()? << 4 | digit()?).ok()
}

fn push_encoded(out: &mut String, decoded: &str, keep: impl Fn(u8) -> bool) {
    if decoded.bytes().all(&keep) {
        return out.push_str(decoded);
    }
    for byte in decoded.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(upper_hex_digit(byte >> 4));
            out.push(upper_hex_digit(byte & 0xf));
        }
    }
}

fn upper_hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 })
}

/// Whether a byte is unreserved (RFC 3986, section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_of_paths(byte: u8) -> bool {
    is_unreserved(byte) || byte == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<String, EncodeError> {
        let mut out = String::new();
        push_path(&mut out, raw).map(|()| out)
    }

    fn query(raw: &str) -> Result<String, EncodeError> {
        let mut out = String::new();
        push_query(&mut out, raw).map(|()| out)
    }

    #[test]
    fn a_path_is_decoded_once_and_encoded_anew() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/a", "/a/"),
            ("/a/", "/a/"),
            ("//a", "//a/"),
            ("/a//", "/a//"),
            ("/a/../b", "/a/../b/"),
            ("/AZaz09-_.~", "/AZaz09-_.~/"),
            ("/%41%7e%2d", "/A~-/"),
            ("/a%2Fb", "/a/b/"),
            ("/a%252fb", "/a%252fb/"),
            ("/a+b:c@d;e,f", "/a%2Bb%3Ac%40d%3Be%2Cf/"),
            ("/a%20b%3f%23", "/a%20b%3F%23/"),
            ("/%e5%89%aa", "/%E5%89%AA/"),
            ("/剪", "/%E5%89%AA/"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(canonical), "{raw}");
        }
    }

    #[test]
    fn a_query_is_sorted_by_decoded_name_then_value() {
        for (raw, canonical) in [
            ("", ""),
            ("flag", "flag="),
            ("flag=", "flag="),
            ("a=b=c", "a=b%3Dc"),
            ("=v", "=v"),
            ("b=1&a=2", "a=2&b=1"),
            ("k=2&k=10&k=1", "k=1&k=10&k=2"),
            ("a1=x&a-=z&a=y", "a=y&a-=z&a1=x"),
            ("a~=2&a%20z=3", "a%20z=3&a~=2"),
            ("k=%C3%A9&k=~&k=%20", "k=%20&k=~&k=%C3%A9"),
            ("a=1+2", "a=1%2B2"),
            ("a=/x?", "a=%2Fx%3F"),
            ("a=%26%3d", "a=%26%3D"),
        ] {
            assert_eq!(query(raw).as_deref(), Ok(canonical), "{raw}");
        }
    }

    #[test]
    fn text_with_two_readings_is_refused() {
        use EncodeError::{BrokenEscape, ControlCharacter, NotOnTheWire, NotUtf8};
        for (raw, expected) in [
            ("%", BrokenEscape),
            ("%4", BrokenEscape),
            ("%4g", BrokenEscape),
            ("%g4", BrokenEscape),
            ("%%41", BrokenEscape),
            ("%+1", BrokenEscape),
            ("%é", BrokenEscape),
            ("%ff", NotUtf8),
            ("%C3", NotUtf8),
            ("%c0%af", NotUtf8),
            ("%ed%a0%80", NotUtf8),
            ("a b", NotOnTheWire),
            ("a#b", NotOnTheWire),
            ("\0", ControlCharacter),
            ("\t", ControlCharacter),
            ("\r\n", ControlCharacter),
            ("\x7f", ControlCharacter),
            ("\u{85}", ControlCharacter),
            ("%00", ControlCharacter),
            ("%0d%0A", ControlCharacter),
            ("%7F", ControlCharacter),
            ("%C2%85", ControlCharacter),
        ] {
            assert_eq!(path(&format!("/v2/{raw}")), Err(expected), "path {raw:?}");
            assert_eq!(query(&format!("a={raw}")), Err(expected), "value {raw:?}");
            assert_eq!(query(&format!("{raw}=a")), Err(expected), "name {raw:?}");
        }
    }

    #[test]
    fn a_path_is_absolute_and_has_no_query() {
        for raw in ["", "a", "*", "http://h/", "%2Fa", "/a?b"] {
            assert_eq!(path(raw), Err(EncodeError::NotOnTheWire), "{raw}");
        }
    }

    #[test]
    fn an_escape_does_not_span_parameters() {
        assert_eq!(query("a=%C3&%A9=b"), Err(EncodeError::NotUtf8));
        assert_eq!(query("a=%&41=b"), Err(EncodeError::BrokenEscape));
    }

    #[test]
    fn an_empty_parameter_is_refused() {
        for raw in ["&", "&a=1", "a=1&", "a=1&&b=2"] {
            assert_eq!(query(raw), Err(EncodeError::EmptyParameter), "{raw}");
        }
    }
}
