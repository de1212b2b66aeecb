//! Names of callers, and their grammar.

use std::{fmt, sync::Arc};

/// A caller's name in the policy: 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(Arc<str>);

/// The text is not a valid caller name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller name is 1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with `_`")]
pub struct CallerIdError;

impl CallerId {
    /// Parses a name. A leading `_` is reserved for `_unknown` in metrics.
    ///
    /// # Errors
    /// [`CallerIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CallerIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('_');
        if valid { Ok(Self(text.into())) } else { Err(CallerIdError) }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the shared name.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
