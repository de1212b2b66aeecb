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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::job_glob;
    use super::super::reference::plain_match;
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).unwrap()
    }

    #[test]
    fn a_star_is_any_run_and_all_else_is_itself() {
        for (pattern, matching, not_matching) in [
            ("abc", &["abc"][..], &["", "ab", "abcd", "ABC", "xabc"][..]),
            ("*", &["", "a", "*", "a b", "é"], &[]),
            ("**", &["", "a"], &[]),
            ("tmp-*", &["tmp-", "tmp-1", "tmp-*"], &["tmp", "xtmp-1", "Tmp-1"]),
            ("*-tmp", &["-tmp", "1-tmp", "-tmp-tmp"], &["tmp", "1-tmp1"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", "aab"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc", "acbc"], &["ac", "acb", "abcd"]),
            ("*ab*ab*", &["abab", "xabyabz"], &["ab", "aba", "bab"]),
            ("mpc:*:delete", &["mpc:editingTask:delete", "mpc:a:b:delete"], &["mpc:delete"]),
            ("a?[b]\\.", &["a?[b]\\."], &["ax[b]\\.", "a?b."]),
        ] {
            for text in matching {
                assert!(glob(pattern).is_match(text), "{pattern} matches {text:?}");
            }
            for text in not_matching {
                assert!(!glob(pattern).is_match(text), "{pattern} does not match {text:?}");
            }
        }
    }

    #[test]
    fn whatever_is_not_a_pattern_is_refused() {
        for (text, expected) in [
            ("", GlobError::Empty),
            ("a b", GlobError::Character),
            ("a\n", GlobError::Character),
            ("é", GlobError::Character),
            (&"a".repeat(257), GlobError::TooLong),
        ] {
            assert_eq!(Glob::parse(text), Err(expected), "{text:?}");
        }
        assert!(Glob::parse(&"a".repeat(256)).is_ok());
    }

    #[test]
    fn a_pattern_shows_its_parts() {
        for (text, literal, prefix) in [("ab", Some("ab"), "ab"), ("a*b*", None, "a"), ("*b", None, "")] {
            let glob = glob(text);
            assert_eq!((glob.literal(), glob.prefix(), glob.as_str()), (literal, prefix, text));
            assert_eq!(glob.to_string(), text);
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_text_is_long() {
        let hostile = glob(&"a*".repeat(128));
        let text = "a".repeat(127) + &"b".repeat(100_000);
        // Trying every split of the text would take longer than the universe has been there.
        assert!(!hostile.is_match(&text));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_match_equals_that_of_trying_everything(pattern in job_glob(), text in "[ab]{0,8}") {
            prop_assert_eq!(glob(&pattern).is_match(&text), plain_match(&pattern, &text));
        }

        #[test]
        fn a_covering_pattern_matches_whatever_the_covered_one_does(
            wide in job_glob(), narrow in job_glob(), text in "[ab]{0,8}",
        ) {
            let (wide, narrow) = (glob(&wide), glob(&narrow));
            prop_assert!(!(wide.covers(&narrow) && narrow.is_match(&text)) || wide.is_match(&text));
        }
    }
}
