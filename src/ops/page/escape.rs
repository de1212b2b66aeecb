//! Texts as they stand on the page.

use std::borrow::Cow;

use maud::Render;

/// A text as it stands on the page: nothing in it is markup, and nothing in it hides.
pub(super) struct Shown<'t>(pub(super) &'t str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        visible(self.0).render_to(buffer);
    }
}

/// A text with what nobody would see, or what would turn the text around it, spelt out.
fn visible(text: &str) -> Cow<'_, str> {
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
}
