//! Writes texts of records as YAML scalars and comments.

/// Formats a text as a YAML scalar in flow style, quoted if it would be ambiguous.
pub(super) fn yaml(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && !text.ends_with(':') && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let quoted = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_plain(c) => c.into(),
        c => format!("\\U{:08X}", u32::from(c)),
    });
    format!("\"{}\"", quoted.collect::<String>())
}

/// Formats a number. Anything else is quoted, so it cannot become other YAML.
pub(super) fn yaml_number(text: &str) -> String {
    text.parse::<u32>().map_or_else(|_| yaml(text), |number| number.to_string())
}

/// Formats a text for a comment, without characters that end the line or reverse its direction.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c.into() } else { c.escape_unicode().to_string() }).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() || c == ' '
}
