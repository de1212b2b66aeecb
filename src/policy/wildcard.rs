//! Does a text match a pattern? `*` stands for any run of characters, `?` for exactly one, as in Huawei's IAM.
//!
//! It stands below `glob`, the pattern of a rule's lists, and `condition`, whose `StringMatch` uses it and whose values
//! may have variables between.

/// What a pattern has at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Any run of characters.
    Run,
    /// One character.
    One,
    Character(char),
}

/// Whether the whole text matches. Only the last `*` is ever taken back, so it costs at most length times length.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |_| true)
}

/// The same where `?` stands only for what `takes` says.
pub(super) fn matches_with(pattern: &str, text: &str, takes: impl Fn(char) -> bool) -> bool {
    matches_tokens(pattern.chars().map(Token::from), text, |token, found| match token {
        Token::Character(wanted) => wanted == found,
        Token::One | Token::Run => takes(found),
    })
}

/// The same of a pattern in pieces, where `takes` says what a token that is no run stands for.
pub(super) fn matches_tokens(
    mut pattern: impl Iterator<Item = Token> + Clone,
    text: &str,
    takes: impl Fn(Token, char) -> bool,
) -> bool {
    let mut text = text.chars();
    // Where to go on when what follows the last `*` fails: that `*` takes one character more.
    let mut retry = None;
    loop {
        let left = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some(Token::Run), _) => {
                text = left;
                retry = Some((pattern.clone(), text.clone()));
            }
            (Some(token), Some(found)) if takes(token, found) => {}
            (Some(_) | None, _) => {
                let Some((after_star, taken)) = &mut retry else { return false };
                if taken.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star.clone(), taken.clone());
            }
        }
    }
}

impl From<char> for Token {
    fn from(character: char) -> Self {
        match character {
            '*' => Self::Run,
            '?' => Self::One,
            character => Self::Character(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::plain_match;
    use super::*;

    #[test]
    fn a_star_is_any_run_and_a_question_mark_one_character() {
        for (pattern, matching, not_matching) in [
            ("abc", &["abc"][..], &["", "ab", "abcd", "ABC"][..]),
            ("", &[""], &["a"]),
            ("*", &["", "a", "é*"], &[]),
            ("?", &["a", "é", "?"], &["", "ab"]),
            ("tmp-??", &["tmp-01"], &["tmp-1", "tmp-001"]),
            ("?*", &["a", "ab"], &[""]),
            ("a*b*c", &["abc", "abbcc"], &["ac", "acb"]),
            ("*ab?", &["abc", "ababc"], &["ab", "abcd"]),
        ] {
            for text in matching {
                assert!(matches(pattern, text), "{pattern} matches {text:?}");
            }
            for text in not_matching {
                assert!(!matches(pattern, text), "{pattern} does not match {text:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_match_equals_that_of_trying_everything(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), plain_match(&pattern, &text));
        }
    }
}
