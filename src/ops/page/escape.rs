//! Escaping of texts for the page.

use maud::Render;

use crate::escape::visible;

/// A text shown on the page: escaped as HTML, with invisible characters made visible.
pub(super) struct Shown<'t>(pub(super) &'t str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        visible(self.0).render_to(buffer);
    }
}
