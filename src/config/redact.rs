//! Redacts possible secrets in quoted lines.
//!
//! Secrets do not belong in these files, but somebody may have put one there by mistake, and messages end up in terminals,
//! CI logs and tickets. It works on text and indentation, because a file may not be valid YAML.

use std::cell::RefCell;
use std::rc::Rc;

/// The lines of a text, redacted for display. Scanned once, however many are shown.
pub(super) struct Lines<'t> {
    lines: Vec<Line<'t>>,
    /// The last line shown, by number, because a text may be one long line.
    shown: RefCell<(u32, Rc<[char]>)>,
}

struct Line<'t> {
    text: &'t str,
    /// Whether it is indented below a key that may hold a secret.
    below_a_secret: bool,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        // A byte order mark does not count as a column.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The lines that may be parents of the next one: their indentation, and whether what is below may be secret.
        let mut above: Vec<(usize, bool)> = Vec::new();
        let line = |text: &'t str| {
            let depth = text.len() - text.trim_start().len();
            while above.pop_if(|(other, _)| !text.trim().is_empty() && *other >= depth).is_some() {}
            let below_a_secret = above.last().is_some_and(|(_, secret)| *secret);
            if !text.trim().is_empty() {
                above.push((depth, below_a_secret || secret_key(text).is_some()));
            }
            Line { text, below_a_secret }
        };
        Self { lines: text.lines().map(line).collect(), shown: RefCell::default() }
    }

    /// Returns the characters of a line, counted from 1. Values of or below keys that may hold a secret are replaced by `*`.
    pub(super) fn covered(&self, number: u32) -> Rc<[char]> {
        let mut shown = self.shown.borrow_mut();
        if shown.0 != number {
            let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let line = index.and_then(|index| self.lines.get(index));
            *shown = (number, line.map(Line::covered).unwrap_or_default().chars().collect());
        }
        Rc::clone(&shown.1)
    }
}

impl Line<'_> {
    fn covered(&self) -> String {
        // The text before an `@` may be a password.
        let all = self.text.contains('@') || self.below_a_secret;
        let from = if all { Some(0) } else { secret_key(self.text) };
        match from.and_then(|from| self.text.split_at_checked(from)) {
            Some((open, hidden)) => format!("{open}{}", cover(hidden)),
            None => self.text.to_owned(),
        }
    }
}

/// Returns where the first key starts that may hold a secret.
fn secret_key(line: &str) -> Option<usize> {
    words(line).find(|(_, word)| word.strip_suffix(':').is_some_and(is_secret)).map(|(start, _)| start)
}

fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'']).to_ascii_lowercase();
    SECRET_KEYS.contains(&key.as_str()) || SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// Replaces everything by `*` except keys and punctuation.
fn cover(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, word) in words(text) {
        out.push_str(text.get(done..start).unwrap_or_default());
        let key = word.ends_with(':') && word.len() <= MAX_KEY;
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

/// Returns the words between spaces and brackets, with their positions.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split(|c: char| c.is_whitespace() || "{}[],".contains(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

const SECRET_KEYS: &[&str] = &["ak", "sk", "key", "credentials", "bearer", "authorization"];
const SECRET_PARTS: &[&str] = &["secret", "password", "passwd", "token", "access_key", "private", "sha256"];
/// Words that cannot be secrets, and are often mistakes of their own.
const PLAIN: &[&str] = &["-", "true", "false", "yes", "no", "on", "off"];
const MAX_KEY: usize = 32;

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
        let lines = Lines::of(text);
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
            assert_eq!(lines.covered(line).iter().collect::<String>(), expected);
        }
    }
}
