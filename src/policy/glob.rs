//! Does a name match a pattern? `*` stands for any run of characters, also none; all else for itself.
//!
//! It stands below `policy`, whose rules are lists of patterns. There are no classes, no `?` and no escapes,
//! and case counts: a pattern reads in one way only.

use std::fmt;
use std::sync::Arc;

/// A pattern: 1 to 256 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Arc<str>);

/// Why a text is not a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty, which matches nothing. `*` matches everything.
    #[error("an empty pattern matches nothing; `*` matches everything")]
    Empty,
    /// It has more than 256 characters.
    #[error("a pattern has at most {MAX_LENGTH} characters")]
    TooLong,
    /// It has a character that no name has.
    #[error("a pattern has printable ASCII characters only, and no space")]
    Character,
}

impl Glob {
    /// The pattern, where the text obeys the grammar.
    ///
    /// # Errors
    /// See [`GlobError`].
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(GlobError::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(GlobError::Character);
        }
        Ok(Self(text.into()))
    }

    /// Whether the whole text matches. What stands between two `*` is taken where it is found first, and that
    /// is never taken back: linear in the length of the text.
    pub fn is_match(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut text) = text.strip_prefix(start).and_then(|t| t.strip_suffix(end)) else { return false };
        for part in middle.split('*') {
            let Some((_, after)) = text.split_once(part) else { return false };
            text = after;
        }
        true
    }

    /// Whether everything `other` matches is matched by this pattern too. `true` is certain, `false` is not.
    ///
    /// It holds where this pattern matches the other's text: a `*` of the other's can only have been taken by
    /// a `*` of ours, which takes whatever that one stands for just as well.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_match(&other.0)
    }

    /// The text, where it has no `*` and so matches only itself.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// What every match starts with: the text up to the first `*`.
    pub fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_LENGTH: usize = 256;
