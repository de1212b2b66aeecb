//! Name patterns: `*` matches any run of characters, including none; `?` matches exactly one; all others match themselves.
//!
//! Patterns are case-sensitive and have no classes or escapes, so they read in one way only.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::wildcard;

/// A pattern: 1 to 256 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Arc<str>);

/// Why a text is not a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty, which would match nothing. `*` matches everything.
    #[error("an empty pattern matches nothing; `*` matches everything")]
    Empty,
    /// It has more than 256 characters.
    #[error("a pattern has at most {MAX_LENGTH} characters")]
    TooLong,
    /// It has a character that no name has.
    #[error("a pattern must be printable ASCII without spaces")]
    Character,
}

impl Glob {
    /// Parses a pattern.
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

    /// Whether the whole text matches. `?` does not match `*`, which no name has; see [`Glob::covers`].
    pub fn is_match(&self, text: &str) -> bool {
        // Most texts already differ at one of the ends.
        text.starts_with(self.prefix())
            && text.ends_with(self.suffix())
            && wildcard::matches_with(&self.0, text, |c| c != '*')
    }

    /// Whether it matches everything, including a call without a job.
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// Whether this pattern matches everything that `other` matches. `true` is certain, `false` is not.
    ///
    /// It is true if this pattern matches the other's text: only our `*` matches the other's `*`, and only our `*` or `?`
    /// the other's `?`, so ours also match whatever those match.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_match(&other.0)
    }

    /// Returns the text if it has no wildcard.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains(WILDCARDS)).then_some(&*self.0)
    }

    /// Returns the text up to the first wildcard, with which every match begins.
    pub fn prefix(&self) -> &str {
        self.0.split(WILDCARDS).next().unwrap_or_default()
    }

    /// Returns the text after the last wildcard, with which every match ends.
    pub(super) fn suffix(&self) -> &str {
        self.0.rsplit(WILDCARDS).next().unwrap_or_default()
    }

    /// Returns the texts between wildcards, which every match contains.
    pub(super) fn inside(&self) -> impl Iterator<Item = &str> {
        let middle = self.0.split_once(WILDCARDS).and_then(|(_, rest)| rest.rsplit_once(WILDCARDS));
        let texts = middle.into_iter().flat_map(|(middle, _)| middle.split(WILDCARDS));
        texts.filter(|text| !text.is_empty())
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Patterns are equal if their texts are.
impl Borrow<str> for Glob {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_LENGTH: usize = 256;
const WILDCARDS: [char; 2] = ['*', '?'];

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
    fn a_star_is_any_run_a_question_mark_one_character_and_all_else_is_itself() {
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
            ("a[b]\\.", &["a[b]\\."], &["ab\\.", "a[b]."]),
            ("?", &["a", "?", "é"], &["", "ab", "*"]),
            ("tmp-??", &["tmp-01"], &["tmp-1", "tmp-001"]),
            ("?*-?", &["ab-1", "a-1"], &["-1", "ab-"]),
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
        for (text, literal, [prefix, suffix], inside) in [
            ("ab", Some("ab"), ["ab", "ab"], &[][..]),
            ("a*b*", None, ["a", ""], &["b"]),
            ("*b", None, ["", "b"], &[]),
            ("?b*cd?e*fg", None, ["", "fg"], &["b", "cd", "e"]),
            ("a?*b", None, ["a", "b"], &[]),
        ] {
            let glob = glob(text);
            assert_eq!((glob.literal(), glob.as_str()), (literal, text));
            assert_eq!([glob.prefix(), glob.suffix()], [prefix, suffix], "{text}");
            assert_eq!(glob.inside().collect::<Vec<_>>(), inside, "{text}");
            assert_eq!(glob.to_string(), text);
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_text_is_long() {
        let hostile = glob(&"a*".repeat(128));
        let text = "a".repeat(127) + &"b".repeat(100_000);
        // Trying every split of the text would take longer than the age of the universe.
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
