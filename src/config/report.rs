//! Reports of all problems of a run, with the lines that they are in.
//!
//! Lines are quoted with secrets redacted (see `redact`). The crates for excerpts (annotate-snippets, codespan-reporting)
//! print the source as it is.

use super::redact::Lines;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line and a column, both counted from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// Creates a position, saturating at the maximum.
    pub(super) fn at(line: u64, column: u64) -> Self {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(line), column: number(column) }
    }
}

/// Whether a problem prevents the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It prevents the start.
    Error,
    /// It does not, but is probably a mistake.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user would name it.
    pub file: Arc<str>,
    /// The position in the file. `None` for the file as a whole.
    pub place: Option<Position>,
    /// Error or warning.
    pub severity: Severity,
    /// The problem in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All problems of a run, ordered by file and position.
#[derive(Default)]
pub struct Report {
    problems: Vec<Problem>,
    texts: Vec<(Arc<str>, String)>,
    pub(super) paths: Paths,
}

#[derive(Default)]
pub(super) struct Paths {
    /// Files that were read, or should have been there to be read.
    pub(super) read: BTreeSet<PathBuf>,
    /// Files that were read, and every path in them.
    pub(super) named: BTreeSet<PathBuf>,
    /// Files that hold secrets.
    pub(super) secrets: BTreeSet<PathBuf>,
}

impl Report {
    /// Creates a report of one error about a file as a whole.
    pub fn of(file: &Path, message: &str, hint: &str) -> Self {
        let (file, severity) = (file.display().to_string().into(), Severity::Error);
        let problem =
            Problem { file, place: None, severity, message: message.into(), hint: Some(hint.into()) };
        Self { problems: vec![problem], ..Self::default() }
    }

    /// Creates the report of a file.
    pub(super) fn of_file(file: Arc<str>, text: String, mut problems: Vec<Problem>) -> Self {
        // Stable, so that problems at the same position stay in the order in which they were found.
        problems.sort_by_key(|problem| problem.place);
        Self { problems, texts: vec![(file, text)], paths: Paths::default() }
    }

    /// Returns the secret files.
    pub fn secrets(&self) -> &BTreeSet<PathBuf> {
        &self.paths.secrets
    }

    /// Returns the files whose contents determine the settings.
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.paths.read
    }

    /// Returns the files that were read, and every path that they name.
    pub fn named(&self) -> &BTreeSet<PathBuf> {
        &self.paths.named
    }

    /// Adds another report.
    pub(super) fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.texts.extend(other.texts);
        self.paths.read.extend(other.paths.read);
        self.paths.named.extend(other.paths.named);
        self.paths.secrets.extend(other.paths.secrets);
    }

    /// Returns the problems.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Returns the value, unless there is none or a problem is an error.
    pub(super) fn unless_errors<T>(self, value: Option<T>) -> Result<T, Self> {
        value.filter(|_| !self.has_errors()).ok_or(self)
    }

    /// Returns the number of errors or warnings.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    fn text_of(&self, file: &str) -> &str {
        self.texts.iter().find(|(name, _)| **name == *file).map_or("", |(_, text)| text)
    }
}

/// Formats each problem as a paragraph, with the quoted line and a caret.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let file = &*problem.file;
            problem.write(f, lines.entry(file).or_insert_with(|| Lines::of(self.text_of(file))))?;
        }
        Ok(())
    }
}

/// Omits the texts, which may contain a secret.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl Problem {
    /// Returns the file, with line and column if known.
    pub fn position(&self) -> String {
        match self.place {
            Some(Position { line, column }) => format!("{}:{line}:{column}", self.file),
            None => self.file.to_string(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, lines: &Lines<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{}: {severity}: {}", printable(&self.position()), printable(&self.message))?;
        let mut margin = 1;
        if let Some(place) = self.place {
            margin = place.line.to_string().len();
            quote(f, lines, place)?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "{:margin$} = hint: {}", "", printable(hint)),
            None => Ok(()),
        }
    }
}

/// Writes the line, truncated to a window if it is very long, with a caret under the position.
fn quote(f: &mut fmt::Formatter<'_>, lines: &Lines<'_>, place: Position) -> fmt::Result {
    let line = lines.covered(place.line);
    let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1).min(line.len());
    let start = if column > WINDOW { column - WINDOW / 2 } else { 0 };
    let shown: String = line.iter().skip(start).take(2 * WINDOW).copied().map(visible).collect();
    let shown = shown.trim_end();
    let carets = "^".repeat(token_length(line.get(column..).unwrap_or_default()).min(WINDOW));
    let (number, before) = (place.line, column - start);
    let margin = number.to_string().len();
    writeln!(f, "{:margin$} |", "")?;
    writeln!(f, "{number} | {shown}")?;
    writeln!(f, "{:margin$} | {:before$}{carets}", "", "")
}

/// Returns how many characters to underline: a quoted text, or up to the next space or bracket; at least one.
fn token_length(rest: &[char]) -> usize {
    let quoted = rest.first().filter(|first| matches!(first, '"' | '\''));
    if let Some(close) = quoted.and_then(|open| rest.iter().skip(1).position(|c| c == open)) {
        return close + 2;
    }
    let ends = |c: &char| visible(*c).is_whitespace() || matches!(c, ',' | '{' | '}' | '[' | ']');
    let mut length = rest.iter().position(ends).unwrap_or(rest.len());
    while length > 1 && rest.get(length - 1) == Some(&':') {
        length -= 1;
    }
    length.max(1)
}

/// Replaces characters that could control a terminal, and makes a tab visible in one column.
fn visible(c: char) -> char {
    match c {
        '\t' => '→',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Half the number of characters shown of a line.
const WINDOW: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, line: u32, column: u32) -> String {
        let file: Arc<str> = "proxy.yaml".into();
        let problem = Problem {
            file: file.clone(),
            place: Some(Position { line, column }),
            severity: Severity::Error,
            message: "no\x1b[31m".into(),
            hint: None,
        };
        Report::of_file(file, text.into(), vec![problem]).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_place_whatever_the_line_is_made_of() {
        for (text, column, expected) in [
            ("a: bcd", 4, "1 | a: bcd\n  |    ^^^\n"),
            ("ключ: é b", 7, "1 | ключ: é b\n  |       ^\n"),
            ("\tb: 1", 1, "1 | →b: 1\n  | ^^\n"),
            ("map: {a: 1}", 6, "1 | map: {a: 1}\n  |      ^\n"),
            ("a: \"b c\" d", 4, "1 | a: \"b c\" d\n  |    ^^^^^\n"),
            ("a: \x1b[2J", 4, "1 | a: \u{fffd}[2J\n  |    ^\n"),
            ("a:", 9, "1 | a:\n  |   ^\n"),
        ] {
            let expected = format!("proxy.yaml:1:{column}: error: no\u{fffd}[31m\n  |\n{expected}");
            assert_eq!(rendered(text, 1, column), expected, "{text:?}");
        }
    }

    #[test]
    fn a_very_long_line_is_cut_round_the_place() {
        let text = format!("a: {}X{}", "y ".repeat(500), "z".repeat(5000));
        let rendered = rendered(&text, 1, 1004);
        let lines: Vec<&str> = rendered.lines().collect();
        assert!(lines[2].len() < 200, "{rendered}");
        assert_eq!(lines[2].find('X'), lines[3].find('^'));
    }

    #[test]
    fn problems_come_in_the_order_of_their_places() {
        let file: Arc<str> = "f".into();
        let at = |line, column| Problem {
            file: file.clone(),
            place: Some(Position { line, column }),
            severity: Severity::Warning,
            message: String::new(),
            hint: None,
        };
        let report = Report::of_file(file.clone(), String::new(), vec![at(9, 1), at(2, 7), at(2, 3)]);
        let places: Vec<_> =
            report.problems().iter().filter_map(|p| p.place).map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(2, 3), (2, 7), (9, 1)]);
        assert!(!report.has_errors());
    }
}
