//! Which part of a line must not be shown? What stands where a secret may stand by mistake.
//!
//! No secret belongs in these files, but a tired person may have put one there, and the message that says so
//! ends in a terminal, a CI log, a ticket. It works on text and indentation, because a file that is not valid
//! YAML has nothing else.

/// The line with that number, counted from 1; values of keys that may hold a secret, or stand below such a key,
/// are covered with as many `*`.
pub(super) fn covered_line(text: &str, number: u64) -> String {
    // Columns do not count a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let lines: Vec<&str> = text.lines().take(number).collect();
    let Some((line, before)) = lines.split_last().filter(|_| number == lines.len()) else {
        return String::new();
    };
    // What stands before an `@` may be a password.
    let all = line.contains('@') || below_a_secret(before, line);
    let from = if all { Some(0) } else { secret_key(line) };
    match from.and_then(|from| line.split_at_checked(from)) {
        Some((open, hidden)) => format!("{open}{}", cover(hidden)),
        None => (*line).to_owned(),
    }
}

/// Whether one of the keys this line stands below, by indentation, may hold a secret.
fn below_a_secret(before: &[&str], line: &str) -> bool {
    let mut depth = indent(line);
    for line in before.iter().rev().filter(|line| !line.trim().is_empty()) {
        if indent(line) < depth {
            depth = indent(line);
            if secret_key(line).is_some() {
                return true;
            }
        }
    }
    false
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Where in the line the first key starts that may hold a secret.
fn secret_key(line: &str) -> Option<usize> {
    words(line).find(|(_, word)| word.strip_suffix(':').is_some_and(is_secret)).map(|(start, _)| start)
}

fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'']).to_ascii_lowercase();
    SECRET_KEYS.contains(&key.as_str()) || SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// Keys and punctuation stay, everything else becomes `*`.
fn cover(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, word) in words(text) {
        out.push_str(text.get(done..start).unwrap_or_default());
        let key = word.ends_with(':') && word.len() <= LONGEST_KEY;
        if key || PLAIN.contains(&word.to_ascii_lowercase().as_str()) {
            out.push_str(word);
        } else {
            out.extend(word.chars().map(|_| '*'));
        }
        done = start + word.len();
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// The runs of text between spaces and brackets, and where each starts.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split(|c: char| c.is_whitespace() || "{}[],".contains(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

const SECRET_KEYS: &[&str] = &["ak", "sk", "key", "credentials", "bearer", "authorization"];
const SECRET_PARTS: &[&str] = &["secret", "password", "passwd", "token", "access_key", "private", "sha256"];
/// What no secret is, and often a mistake of its own.
const PLAIN: &[&str] = &["-", "true", "false", "yes", "no", "on", "off"];
/// Names are longer than this only where they are no names.
const LONGEST_KEY: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_covered_and_keeps_its_width() {
        let text = "\
projects:
  - { name: a, endpoint: https://h, credential: prod }
credentials:
  prod:
    files: { access_key: HPUA, secret_key: 'a b', x: [q] }   # note

    environment:
      - AKIA
log: { level: info }
  - bearer: { sha256_file: 5e88 }
sk: s3cr3t
proxy: http://user:p,w@egress:3128";
        for (line, expected) in [
            (2, "  - { name: a, endpoint: https://h, credential: prod }"),
            (3, "credentials:"),
            (4, "  prod:"),
            (5, "    files: { access_key: ****, secret_key: ** **, x: [*] }   * ****"),
            (6, ""),
            (8, "      - ****"),
            (9, "log: { level: info }"),
            (10, "  - bearer: { sha256_file: **** }"),
            (11, "sk: ******"),
            (12, "proxy: *************,*************"),
            (13, ""),
        ] {
            assert_eq!(covered_line(text, line), expected);
        }
    }
}
