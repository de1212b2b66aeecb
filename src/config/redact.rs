//! Redacts possible secrets in quoted lines. What stands where a secret may stand by mistake.
//!
//! No secret belongs in these files, but a tired person may have put one there, and the message that says so
//! ends in a terminal, a CI log, a ticket. It works on text and indentation, because a file that is not valid
//! YAML has nothing else.

use std::cell::RefCell;
use std::rc::Rc;

/// The lines of a text, as they may be shown. Looked through once, however many of them are.
pub(super) struct Lines<'t> {
    lines: Vec<Line<'t>>,
    /// The one that was shown last, by its number: a text may be one long line.
    shown: RefCell<(u32, Rc<[char]>)>,
}

struct Line<'t> {
    text: &'t str,
    /// Whether one of the keys it stands below, by indentation, may hold a secret.
    below_a_secret: bool,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        // Columns do not count a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The lines that the next one may stand below: how far each is indented, and whether it is secret below it.
        let mut above: Vec<(usize, bool)> = Vec::new();
        let line = |text: &'t str| {
            let depth = indent(text);
            while above.pop_if(|(other, _)| !text.trim().is_empty() && *other >= depth).is_some() {}
            let below_a_secret = above.last().is_some_and(|(_, secret)| *secret);
            if !text.trim().is_empty() {
                above.push((depth, below_a_secret || secret_key(text).is_some()));
            }
            Line { text, below_a_secret }
        };
        Self { lines: text.lines().map(line).collect(), shown: RefCell::default() }
    }

    /// The characters of the line with that number, counted from 1; values of keys that may hold a secret, or stand
    /// below such a key, are covered with as many `*`.
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
        // What stands before an `@` may be a password.
        let all = self.text.contains('@') || self.below_a_secret;
        let from = if all { Some(0) } else { secret_key(self.text) };
        match from.and_then(|from| self.text.split_at_checked(from)) {
            Some((open, hidden)) => format!("{open}{}", cover(hidden)),
            None => self.text.to_owned(),
        }
    }
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
