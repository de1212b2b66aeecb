//! Checks names, and suggests what was meant by an unknown one.

use super::source_file::{Located, SourceFile};
use std::collections::HashMap;
use std::sync::Arc;

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

/// Finds a name among these. `None` if it is unknown, which is reported.
pub(super) fn known<'c>(
    source: &SourceFile,
    what: &str,
    name: &Located<impl AsRef<str>>,
    names: impl Iterator<Item = &'c str> + Clone,
) -> Option<&'c str> {
    let text = name.value.as_ref();
    names.clone().find(|known| *known == text).or_else(|| {
        source.reject(name.place, format!("unknown {what} `{text}`"), did_you_mean(source, text, names))
    })
}

pub(super) fn closest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let folded = |t: &str| t.to_ascii_lowercase().replace('-', "_");
    let text = folded(text);
    let length = text.chars().count();
    let allowed = 1 + length / 4;
    let near = candidates.into_iter().filter(|c| c.chars().count().abs_diff(length) <= allowed);
    let scored = near.map(|c| (strsim::damerau_levenshtein(&text, &folded(c)), c));
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, c)| c)
}

/// Returns a hint for an unknown name. Of many mistakes among many names, only the first are compared.
pub(super) fn did_you_mean<'c>(
    source: &SourceFile,
    text: &str,
    candidates: impl Iterator<Item = &'c str> + Clone,
) -> String {
    if let Some(name) = closest(text, candidates.clone().take_while(|_| source.may_compare())) {
        return format!("did you mean `{name}`?");
    }
    let listed: Vec<String> = candidates.clone().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = match candidates.count() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("known: {}{more}", listed.join(", "))
}

/// The maximum number of names in a hint.
const MAX_LISTED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_what_was_meant_or_nothing() {
        let known = ["name", "id", "endpoint", "credential", "project_header", "unsafe_plaintext"];
        for (parsed, expected) in [
            ("enpoint", Some("endpoint")),
            ("end_point", Some("endpoint")),
            ("credentials", Some("credential")),
            ("project-header", Some("project_header")),
            ("Name", Some("name")),
            ("naem", Some("name")),
            ("insecure", None),
            ("x", None),
        ] {
            assert_eq!(closest(parsed, known), expected, "{parsed}");
        }
    }
}
