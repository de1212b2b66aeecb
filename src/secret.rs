//! Secrets. A text that does not print and is zeroed when dropped.
//!
//! It stands beside the clock because every later module may hold one. It does not encrypt, and
//! it cannot keep a copy made with [`Secret::expose`] from being printed: look for that word.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text: a secret key, a token, a password.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. The only way out: what is done with it is the caller's responsibility.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of a header that carries it: marked as sensitive, and zeroed when its last clone is dropped. `None`
    /// where no header can.
    pub fn header(&self) -> Option<HeaderValue> {
        let text = Bytes::from_owner(Zeroizing::new(self.expose().as_bytes().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Why a text is no key or token. Tells what is in the way, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing is left without the white space around it.
    #[error("is empty")]
    Empty,
    /// More than one line.
    #[error("has more than one line")]
    Lines,
    /// White space between other characters.
    #[error("contains white space")]
    WhiteSpace,
    /// A quotation mark: where it was copied from, it was not a part of the value.
    #[error("contains a quotation mark: write the value without quotes")]
    Quote,
    /// A control character.
    #[error("contains a control character")]
    Control,
    /// A character that no key has.
    #[error("contains a non-ASCII character")]
    NotAscii,
}

/// A key or token as it stands in a file, a variable or an answer: without the byte order mark and the white space
/// around it. It is the only reading of them, whatever they come from.
///
/// # Errors
/// What keeps the rest from being one: see [`Flaw`].
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
    // Of several, the most telling one: a second line explains the rest.
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
