//! A YAML file being read, and the problems found in it.
//!
//! It goes through all of decoding by shared reference, so that a reader that meets a problem reports it and goes on: a
//! person wants all problems in one run, not one a run.

use super::report::{Paths, Position, Problem, Report, Severity};
use super::yaml::{self, Node, Value};
use crate::policy::{Glob, GlobError};
use crate::watch;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// One YAML file and its problems. It does not print: the text may hold a secret.
pub(super) struct SourceFile {
    file: Arc<str>,
    directory: PathBuf,
    text: String,
    problems: RefCell<Vec<Problem>>,
    read: RefCell<BTreeSet<PathBuf>>,
    named: RefCell<BTreeSet<PathBuf>>,
    /// In the order in which they are named.
    secrets: RefCell<Vec<Located<PathBuf>>>,
    reload: bool,
    only: KeyScope,
    comparisons: Cell<u32>,
    globs: RefCell<HashSet<Glob>>,
}

/// The sections of a file of which not all keys matter, by what messages call them, and which keys do.
pub(super) type KeyScope = &'static [(&'static str, &'static [&'static str])];

/// A value that was written in the file, and where.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Position,
}

impl SourceFile {
    /// Reads the file.
    pub(super) fn try_open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, read_text(path)?))
    }

    /// Reads the file. One that cannot be read is without text, and has that problem.
    pub(super) fn open(path: &Path) -> Self {
        Self::try_open(path).unwrap_or_else(|error| {
            let source = Self::new(path, String::new());
            source.push(source.problem(None, format!("cannot read file: {}", reason(&error)), None));
            source
        })
    }

    fn new(path: &Path, text: String) -> Self {
        Self {
            file: path.display().to_string().into(),
            directory: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            text,
            problems: RefCell::default(),
            read: RefCell::new([path.to_owned()].into()),
            named: RefCell::new([path.to_owned()].into()),
            secrets: RefCell::default(),
            reload: false,
            only: &[],
            comparisons: Cell::new(MAX_COMPARISONS),
            globs: RefCell::default(),
        }
    }

    /// Parses the text. `None` where it cannot be, which is reported.
    pub(super) fn parse(&self) -> Option<Node<'_>> {
        if self.has_errors() {
            return None;
        }
        yaml::parse(&self.text)
            .map_err(|no| self.push(self.problem(no.place, no.message, Some(no.hint.into()))))
            .ok()
    }

    /// The file without its folder: what records and answers call it.
    pub(super) fn name(&self) -> Arc<str> {
        Path::new(&*self.file).file_name().and_then(|name| name.to_str()).unwrap_or(&self.file).into()
    }

    /// The text of the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a single value as it is written, where it is a text, a number or a switch. To YAML, `007`, `1e5`
    /// and a number of 32 digits are something else than what they look like; a name is what it looks like.
    pub(super) fn scalar<'n>(&'n self, node: &'n Node<'n>) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Number => Some(node.parsed(&self.text)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a key. To YAML `Null` is nothing; here it is the operator of a condition.
    pub(super) fn key<'n>(&'n self, node: &'n Node<'n>) -> Option<&'n str> {
        let nothing = || matches!(node.value, Value::Null).then(|| node.parsed(&self.text));
        self.scalar(node).or_else(|| nothing().filter(|parsed| *parsed == "Null"))
    }

    /// A pattern, each text once: thousands of rules have few that differ.
    pub(super) fn glob(&self, text: &str) -> Result<Glob, GlobError> {
        let mut globs = self.globs.borrow_mut();
        if let Some(known) = globs.get(text) {
            return Ok(known.clone());
        }
        let glob = Glob::parse(text)?;
        globs.insert(glob.clone());
        Ok(glob)
    }

    /// A path that the file names: relative to the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let path = self.directory.join(path);
        self.named.borrow_mut().insert(path.clone());
        path
    }

    /// Notes that what is loaded depends on what is in this file, also when it is not there.
    pub(super) fn depends_on(&self, path: &Path) {
        self.read.borrow_mut().insert(path.to_owned());
    }

    /// The files that are read for what it says.
    pub(super) fn reads(&self) -> Vec<PathBuf> {
        let secrets = self.secrets.borrow();
        self.read.borrow().iter().chain(secrets.iter().map(|secret| &secret.value)).cloned().collect()
    }

    /// Whether one more name may be compared with what is none. Mistakes times names can be more than anybody waits for.
    pub(super) fn may_compare(&self) -> bool {
        let left = self.comparisons.get().checked_sub(1);
        left.inspect(|left| self.comparisons.set(*left)).is_some()
    }

    /// The same file, read while the proxy runs.
    pub(super) fn read_again(self, reload: bool) -> Self {
        Self { reload, ..self }
    }

    /// The same file, read for a part of what it says.
    pub(super) fn read_for(self, only: KeyScope) -> Self {
        Self { only, ..self }
    }

    /// The keys of a section that matter. `None`: all.
    pub(super) fn only(&self, section: &str) -> Option<&'static [&'static str]> {
        self.only.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys)
    }

    /// Notes that this file, which is named at that place, holds a secret.
    pub(super) fn names_secret(&self, path: &Path, place: Position) {
        self.secrets.borrow_mut().push(Located { value: path.to_owned(), place });
    }

    /// Where, among those, this file with a secret was named last.
    pub(super) fn place_of_secret(&self, path: &Path, among: &Range<usize>) -> Option<Position> {
        let secrets = self.secrets.borrow();
        let mut named = secrets.get(among.clone())?.iter().rev();
        named.find(|named| named.value == path).map(|named| named.place)
    }

    /// Whether those files with secrets, by the order in which they were named, are there to be read, and not empty.
    pub(super) fn has_secrets(&self, among: &Range<usize>) -> bool {
        let there = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        self.secrets.borrow().get(among.clone()).unwrap_or_default().iter().all(|named| there(&named.value))
    }

    /// How many files with secrets were named so far.
    pub(super) fn count_secrets(&self) -> usize {
        self.secrets.borrow().len()
    }

    /// Reports what keeps the proxy from starting. One that runs does without, as with a file that holds no key any more:
    /// it keeps the last good one, and must not be kept from taking a new policy by it.
    pub(super) fn at_start(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        if self.reload { self.warning(place, message, hint) } else { self.error(place, message, hint) }
    }

    /// What a relative path is relative to, as a hint.
    pub(super) fn where_files_are(&self) -> String {
        format!("relative paths start at the directory of {}", self.file)
    }

    /// Reports an error.
    pub(super) fn error(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.push(self.problem(Some(place), message.into(), Some(hint.into())));
    }

    /// Reports an error in place of a value.
    pub(super) fn reject<T>(
        &self,
        place: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.error(place, message, hint);
        None
    }

    /// Reports a warning.
    pub(super) fn warning(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        let problem = self.problem(Some(place), message.into(), Some(hint.into()));
        self.push(Problem { severity: Severity::Warning, ..problem });
    }

    /// Reports a value of the wrong kind: `expected a duration such as 3s, found a list`.
    pub(super) fn wrong_kind<T>(&self, node: &Node, expected: &str) -> Option<T> {
        let hint = match node.value {
            Value::Bool(_) | Value::Integer(_) | Value::Number => "put it in quotes if it is text",
            Value::List(_) | Value::Map(_) => "write a single value",
            Value::Null | Value::Text(_) => "write that instead",
        };
        self.reject(node.place, format!("expected {expected}, found {}", node.value.kind()), hint)
    }

    /// `file:line:column`, for a message that names a second place.
    pub(super) fn format(&self, place: Position) -> String {
        format!("{}:{}:{}", self.file, place.line, place.column)
    }

    /// Whether anything in the file is an error.
    pub(super) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// What there is to report of it.
    pub(super) fn close(self) -> Report {
        let secrets = self.secrets.into_inner().into_iter().map(|named| named.value).collect();
        let mut report = Report::of_file(self.file, self.text, self.problems.into_inner());
        report.paths = Paths { read: self.read.into_inner(), named: self.named.into_inner(), secrets };
        report
    }

    fn problem(&self, place: Option<Position>, message: String, hint: Option<String>) -> Problem {
        Problem { file: Arc::clone(&self.file), place, severity: Severity::Error, message, hint }
    }

    fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }
}

/// Why a file cannot be read, as a person says it: without `(os error 2)`.
pub fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such file".into();
    }
    let text = error.to_string();
    text.split(" (os error").next().map(String::from).unwrap_or(text)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = watch::read(path)?;
    String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| io::Error::other("not UTF-8 text"))
}

/// Dozens of mistakes among thousands of names: a tenth of a second.
const MAX_COMPARISONS: u32 = 50_000;
