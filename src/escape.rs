//! Makes foreign texts safe to display: no invisible characters, no terminal control.

use std::borrow::Cow;

/// Escapes invisible and direction-changing characters. Line ends stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c != '\n' && !c.is_ascii_graphic() && c != ' ' && c.escape_debug().count() > 1;
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Like [`visible`], on one line.
pub fn shown(text: &str) -> String {
    visible(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_would_see_is_spelt_out() {
        for (text, shown) in [
            ("a <b> \"c\" 'd' \\ é 客户", "a <b> \"c\" 'd' \\ é 客户"),
            ("two\nlines", "two\nlines"),
            ("a\u{202e}b\u{2066}c\u{200b}d", "a\\u{202e}b\\u{2066}c\\u{200b}d"),
            ("a\u{0}b\u{1b}[31m\r", "a\\0b\\u{1b}[31m\\r"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn what_would_steer_a_terminal_is_spelt_out() {
        for (text, expected) in [
            ("a <b> \"c\" 'd' \\ é 客户", "a <b> \"c\" 'd' \\ é 客户"),
            ("drill\nready", "drill\\nready"),
            ("\u{1b}[31m\u{9b}31m\u{202e}\u{7f}\r", "\\u{1b}[31m\\u{9b}31m\\u{202e}\\u{7f}\\r"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
