//! Names of callers, and their grammar.

use std::{fmt, sync::Arc};

/// A caller's name in the policy: 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(Arc<str>);

/// A text is not a caller's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller name is 1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with `_`")]
pub struct CallerIdError;

impl CallerId {
    /// The name, where the text obeys the grammar. A leading `_` is kept for `_unknown` in the metrics.
    ///
    /// # Errors
    /// [`CallerIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CallerIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('_');
        if valid { Ok(Self(text.into())) } else { Err(CallerIdError) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
