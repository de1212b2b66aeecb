//! Secrets: texts that are never printed, and zeroed on drop.
//!
//! They are not encrypted, and a copy made with [`Secret::expose`] can still be printed: review the uses of that method.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text: a secret key, a token, a password.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes ownership of a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text. The only way out; the caller is responsible for it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns it as a header value, marked as sensitive and zeroed when its last clone is dropped. `None` if it is not a
    /// valid value.
    pub fn header(&self) -> Option<HeaderValue> {
        let text = Bytes::from_owner(Zeroizing::new(self.expose().as_bytes().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Why a text is not a valid key or token. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is empty or only white space.
    #[error("is empty")]
    Empty,
    /// It has more than one line.
    #[error("has more than one line")]
    Lines,
    /// It has white space between other characters.
    #[error("contains white space")]
    WhiteSpace,
    /// It has a quotation mark, which was probably not a part of the value.
    #[error("contains a quotation mark: write the value without quotes")]
    Quote,
    /// It has a control character.
    #[error("contains a control character")]
    Control,
    /// It has a character that no key has.
    #[error("contains a non-ASCII character")]
    NotAscii,
}

/// Extracts a key or token from the text of a file, a variable or an answer: removes a byte order mark and surrounding white
/// space. All sources are read this way.
///
/// # Errors
/// If the rest is invalid; see [`Flaw`].
pub fn key_text(text: &str) -> Result<&str, Flaw> {
    let text = text.trim_matches(is_around);
    let flaw = |c: char| match c {
        '\n' | '\r' => Some(Flaw::Lines),
        _ if c.is_whitespace() => Some(Flaw::WhiteSpace),
        '"' | '\'' | '`' => Some(Flaw::Quote),
        _ if c.is_control() => Some(Flaw::Control),
        _ if !c.is_ascii() => Some(Flaw::NotAscii),
        _ => None,
    };
    if text.is_empty() {
        return Err(Flaw::Empty);
    }
    // Of several flaws the most telling: a second line explains the others.
    let lines = text.contains(['\n', '\r']).then_some(Flaw::Lines);
    lines.or_else(|| text.chars().find_map(flaw)).map_or(Ok(text), Err)
}

fn is_around(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(text).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_of_ascii_with_white_space_around_it() {
        for good in ["key", "key\n", "\u{feff}key\r\n", " \tkey \n\n", "\u{a0}key\u{feff}"] {
            assert_eq!(key_text(good), Ok("key"), "{good:?}");
        }
        for (bad, expected) in [
            ("", Flaw::Empty),
            (" \n\u{feff}", Flaw::Empty),
            ("key\nkey", Flaw::Lines),
            ("key: \"x\"\r\nkey", Flaw::Lines),
            ("k ey", Flaw::WhiteSpace),
            ("k\tey", Flaw::WhiteSpace),
            ("\"key\"", Flaw::Quote),
            ("'key'\n", Flaw::Quote),
            ("k\u{0}ey", Flaw::Control),
            ("k\u{7f}", Flaw::Control),
            ("k\u{e9}y", Flaw::NotAscii),
            ("k\u{200b}y", Flaw::NotAscii),
            ("k\u{feff}y", Flaw::NotAscii),
        ] {
            assert_eq!(key_text(bad), Err(expected), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("s3cr3t");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.expose(), "s3cr3t");
        let header = secret.header().unwrap();
        assert_eq!((header.as_bytes(), format!("{header:?}").as_str()), (&b"s3cr3t"[..], "Sensitive"));
        assert!(Secret::new("two\nlines").header().is_none());
    }
}
