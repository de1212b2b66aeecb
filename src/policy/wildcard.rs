//! Wildcard matching: `*` matches any run of characters, `?` exactly one, as in Huawei's IAM.
//!
//! Used by the patterns of rules (`glob`) and by `StringMatch`, whose values may also have variables.

/// Whether the whole text matches. Only the last `*` is ever retried, so the time is at most quadratic.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |_| true)
}

/// Whether the whole text matches, with `?` restricted to the characters that `takes` accepts.
pub(super) fn matches_with(pattern: &str, text: &str, takes: impl Fn(char) -> bool) -> bool {
    let is_run = |token| token == '*';
    matches_tokens(pattern.chars(), text, is_run, |wanted, found| match wanted {
        '?' => takes(found),
        wanted => wanted == found,
    })
}

/// Matches a pattern in pieces: some match any run, the others what `takes` accepts.
pub(super) fn matches_tokens<T: Copy>(
    mut pattern: impl Iterator<Item = T> + Clone,
    text: &str,
    is_run: impl Fn(T) -> bool,
    takes: impl Fn(T, char) -> bool,
) -> bool {
    let mut text = text.chars();
    // Where to resume if the text after the last `*` fails: that `*` takes one more character.
    let mut retry = None;
    loop {
        let token = pattern.next();
        if token.is_some_and(&is_run) {
            retry = Some((pattern.clone(), text.clone()));
            continue;
        }
        match (token, text.next()) {
            (None, None) => return true,
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
