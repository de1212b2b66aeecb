//! A YAML file being read, and the problems found in it.
//!
//! Readers share it, report problems to it and go on, so that one run reports all problems.

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

/// A YAML file and its problems. Never printed, because the text may contain a secret.
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

/// The sections that are only partly read, with the keys to read.
pub(super) type KeyScope = &'static [(&'static str, &'static [&'static str])];

/// A value with its position in the file.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Position,
}

impl SourceFile {
    pub(super) fn try_open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, read_text(path)?))
    }

    /// Reads the file. An unreadable one has no text, and that problem.
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

    /// Parses the text. `None` if it is invalid, which is reported.
    pub(super) fn parse(&self) -> Option<Node<'_>> {
        if self.has_errors() {
            return None;
        }
        yaml::parse(&self.text)
            .map_err(|no| self.push(self.problem(no.place, no.message, Some(no.hint.into()))))
            .ok()
    }

    /// Returns the file name without its folder, as records and answers use it.
    pub(super) fn name(&self) -> Arc<str> {
        Path::new(&*self.file).file_name().and_then(|name| name.to_str()).unwrap_or(&self.file).into()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text of a scalar as written. YAML would read `007`, `1e5` and a number of 32 digits as other values, but
    /// a name must stay what it looks like.
    pub(super) fn scalar<'n>(&'n self, node: &'n Node<'n>) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Number => Some(node.parsed(&self.text)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the text of a key. `Null`, which is nothing in YAML, is a condition operator here.
    pub(super) fn key<'n>(&'n self, node: &'n Node<'n>) -> Option<&'n str> {
        let nothing = || matches!(node.value, Value::Null).then(|| node.parsed(&self.text));
        self.scalar(node).or_else(|| nothing().filter(|parsed| *parsed == "Null"))
    }

    /// Parses a pattern. Equal texts share one, because thousands of rules have few distinct ones.
    pub(super) fn glob(&self, text: &str) -> Result<Glob, GlobError> {
        let mut globs = self.globs.borrow_mut();
        if let Some(known) = globs.get(text) {
            return Ok(known.clone());
        }
        let glob = Glob::parse(text)?;
        globs.insert(glob.clone());
        Ok(glob)
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let path = self.directory.join(path);
        self.named.borrow_mut().insert(path.clone());
        path
    }

    /// Notes that the settings depend on this file, even if it does not exist.
    pub(super) fn depends_on(&self, path: &Path) {
        self.read.borrow_mut().insert(path.to_owned());
    }

    /// Returns the files that the settings depend on.
    pub(super) fn reads(&self) -> Vec<PathBuf> {
        let secrets = self.secrets.borrow();
        self.read.borrow().iter().chain(secrets.iter().map(|secret| &secret.value)).cloned().collect()
    }

    /// Takes one comparison for a suggestion from the budget: mistakes times names could take too long.
    pub(super) fn may_compare(&self) -> bool {
        let left = self.comparisons.get().checked_sub(1);
        left.inspect(|left| self.comparisons.set(*left)).is_some()
    }

    pub(super) fn read_again(self, reload: bool) -> Self {
        Self { reload, ..self }
    }

    pub(super) fn read_for(self, only: KeyScope) -> Self {
        Self { only, ..self }
    }

    /// Returns the keys of a section to read. `None` means all.
    pub(super) fn only(&self, section: &str) -> Option<&'static [&'static str]> {
        self.only.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys)
    }

    /// Notes a secret file and where it is named.
    pub(super) fn names_secret(&self, path: &Path, place: Position) {
        self.secrets.borrow_mut().push(Located { value: path.to_owned(), place });
    }

    /// Returns where this secret file was last named, among those in a range.
    pub(super) fn place_of_secret(&self, path: &Path, among: &Range<usize>) -> Option<Position> {
        let secrets = self.secrets.borrow();
        let mut named = secrets.get(among.clone())?.iter().rev();
        named.find(|named| named.value == path).map(|named| named.place)
    }

    /// Whether the secret files in a range exist and are readable and not empty.
    pub(super) fn has_secrets(&self, among: &Range<usize>) -> bool {
        let there = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        self.secrets.borrow().get(among.clone()).unwrap_or_default().iter().all(|named| there(&named.value))
    }

    pub(super) fn count_secrets(&self) -> usize {
        self.secrets.borrow().len()
    }

    /// Reports an error at start, a warning at a reload. A running proxy keeps its last good key, so a broken key file must
    /// not prevent a new policy.
    pub(super) fn at_start(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        if self.reload { self.warning(place, message, hint) } else { self.error(place, message, hint) }
    }

    /// Returns a hint about what paths are relative to.
    pub(super) fn where_files_are(&self) -> String {
        format!("relative paths start at the directory of {}", self.file)
    }

    pub(super) fn error(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.push(self.problem(Some(place), message.into(), Some(hint.into())));
    }

    /// Reports an error, and returns `None` in place of the value.
    pub(super) fn reject<T>(
        &self,
        place: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.error(place, message, hint);
        None
    }

    pub(super) fn warning(&self, place: Position, message: impl Into<String>, hint: impl Into<String>) {
        let problem = self.problem(Some(place), message.into(), Some(hint.into()));
        self.push(Problem { severity: Severity::Warning, ..problem });
    }

    /// Reports a value of the wrong kind, such as `expected a duration such as 3s, found a list`.
    pub(super) fn wrong_kind<T>(&self, node: &Node, expected: &str) -> Option<T> {
        let hint = match node.value {
            Value::Bool(_) | Value::Integer(_) | Value::Number => "put it in quotes if it is text",
            Value::List(_) | Value::Map(_) => "write a single value",
            Value::Null | Value::Text(_) => "write that instead",
        };
        self.reject(node.place, format!("expected {expected}, found {}", node.value.kind()), hint)
    }

    /// Formats `file:line:column`, for a message about a second place.
    pub(super) fn format(&self, place: Position) -> String {
        format!("{}:{}:{}", self.file, place.line, place.column)
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Returns the report of it.
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

/// Formats an I/O error without `(os error 2)`.
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

/// Enough for dozens of mistakes among thousands of names; takes a tenth of a second.
const MAX_COMPARISONS: u32 = 50_000;
