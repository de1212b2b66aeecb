//! Texts as they stand on the page.

use maud::Render;

use crate::escape::visible;

/// A text as it stands on the page: nothing in it is markup, and nothing in it hides.
pub(super) struct Shown<'t>(pub(super) &'t str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        visible(self.0).render_to(buffer);
    }
}
