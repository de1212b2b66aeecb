//! Names are given once.

use super::source_file::{Located, SourceFile};
use std::collections::HashMap;
use std::sync::Arc;

/// Every name is given once.
pub(super) fn check_unique_names<'n>(
    source: &SourceFile,
    what: &str,
    names: impl Iterator<Item = &'n Located<Arc<str>>>,
) {
    let mut first: HashMap<&str, &Located<Arc<str>>> = HashMap::new();
    for name in names {
        if let Some(first) = first.get(&*name.value) {
            let message = format!("`{}` is already {what}, at {}", name.value, source.format(first.place));
            source.error(name.place, message, "choose another");
        } else {
            first.insert(&name.value, name);
        }
    }
}
