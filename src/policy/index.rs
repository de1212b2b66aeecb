//! Which rule decides a call? The rules, arranged so that finding it costs the same for ten and ten thousand.
//!
//! Callers, actions and projects are few and known when a policy is loaded, so their patterns are resolved then:
//! a call meets only the rules of its own caller, action and project. Job ids are not known, so their patterns
//! are looked up by what they start with. Only patterns with the same start are tried one after another, and
//! whether a rule's condition holds is asked last.

use std::collections::{BTreeSet, HashMap, hash_map};
use std::iter;

use super::{Call, Effect, Glob, Mode, Rule, Scope};
use crate::identity::CallerId;
use crate::operation::CATALOGUE;

/// The rules of a policy by what they match.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) callers: Names,
    pub(super) actions: Names,
    pub(super) projects: Names,
    /// By [`Index::position`]: caller by caller, in it action by action, in it project by project.
    grid: Vec<Option<Box<Rules>>>,
}

/// One kind of names, numbered from 1: 0 is [`ANY`].
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, usize>,
    /// A project goes by its name and its id in a rule.
    spellings: HashMap<Box<str>, Vec<usize>>,
}

/// The numbers of a caller, an action and a project.
pub(super) type Cell = [usize; 3];

/// The rules of one cell.
#[derive(Debug, Default)]
struct Rules {
    enforced: Effects,
    observed: Effects,
}

/// The rules of one cell and mode.
#[derive(Debug, Default)]
struct Effects {
    denies: Jobs,
    allows: Jobs,
}

/// The job patterns of one cell, mode and effect with their rules, where that rule can be the first to match.
#[derive(Debug, Default)]
struct Jobs {
    literals: HashMap<Box<str>, Vec<Entry>>,
    by_prefix: HashMap<Box<str>, Vec<(Glob, Entry)>>,
    /// The lengths of those prefixes, each once.
    prefix_lengths: Vec<usize>,
}

/// A rule by its number.
#[derive(Clone, Copy, Debug)]
struct Entry {
    rule: usize,
    /// It matches whenever its lists do: it has no condition and no end.
    always: bool,
}

impl Index {
    pub(super) fn new(rules: &[Rule], callers: &[CallerId], projects: &[Scope]) -> Self {
        let mut index = Self {
            callers: Names::new(callers.iter().map(|caller| (caller.as_str(), None))),
            actions: Names::new(CATALOGUE.iter().map(|operation| (operation.action, None))),
            projects: Names::new(projects.iter().map(|project| (&*project.name, Some(&*project.id)))),
            grid: Vec::new(),
        };
        let cells = index.callers.count() * index.actions.count() * index.projects.count();
        index.grid.resize_with(cells, || None);
        for (number, rule) in rules.iter().enumerate() {
            for cell in index.cells(rule) {
                let position = index.position(cell);
                let Some(rules) = index.grid.get_mut(position) else { continue };
                let rules = rules.get_or_insert_default();
                let jobs = rules.of_mut(rule.mode, rule.effect);
                let entry = Entry { rule: number, always: rule.always_applies() };
                rule.jobs.iter().for_each(|glob| jobs.add(glob, entry));
            }
        }
        index
    }

    /// The number of the first rule of this mode and effect that matches this job in this cell and applies.
    ///
    /// Also takes the text of a pattern for the job: what is found then matches every job that pattern matches;
    /// see [`Glob::covers`]. `applies` is asked only of rules that have a condition or an end.
    pub(super) fn first(
        &self,
        ([caller, action, project], job): (Cell, &str),
        (mode, effect): (Mode, Effect),
        applies: impl Fn(usize) -> bool + Copy,
    ) -> Option<usize> {
        let cells =
            [[caller, action, project], [caller, action, ANY], [ANY, action, project], [ANY, action, ANY]];
        let rules = cells.map(|cell| self.grid.get(self.position(cell)).and_then(Option::as_deref));
        rules.iter().flatten().filter_map(|rules| rules.of(mode, effect).first(job, applies)).min()
    }

    fn position(&self, [caller, action, project]: Cell) -> usize {
        (caller * self.actions.count() + action) * self.projects.count() + project
    }

    /// `None` where caller, action or project is not a known one.
    pub(super) fn cell(&self, call: &Call<'_>) -> Option<Cell> {
        Some([
            self.callers.number(call.caller.as_str())?,
            self.actions.number(call.action)?,
            self.projects.number(call.project)?,
        ])
    }

    /// The cells a rule stands in.
    pub(super) fn cells(&self, rule: &Rule) -> Vec<Cell> {
        let callers = self.callers.any_or_matching(&rule.callers);
        let actions: BTreeSet<usize> =
            rule.actions.iter().flat_map(|glob| self.actions.matching(glob)).collect();
        let projects = self.projects.any_or_matching(&rule.projects);
        let mut cells = Vec::with_capacity(callers.len() * actions.len() * projects.len());
        for caller in &callers {
            for action in &actions {
                cells.extend(projects.iter().map(|project| [*caller, *action, *project]));
            }
        }
        cells
    }
}

impl Rules {
    fn of(&self, mode: Mode, effect: Effect) -> &Jobs {
        let effects = match mode {
            Mode::Enforce => &self.enforced,
            Mode::Observe => &self.observed,
        };
        match effect {
            Effect::Allow => &effects.allows,
            Effect::Deny => &effects.denies,
        }
    }

    fn of_mut(&mut self, mode: Mode, effect: Effect) -> &mut Jobs {
        let effects = match mode {
            Mode::Enforce => &mut self.enforced,
            Mode::Observe => &mut self.observed,
        };
        match effect {
            Effect::Allow => &mut effects.allows,
            Effect::Deny => &mut effects.denies,
        }
    }
}

impl Names {
    /// Numbers the names. A pattern may match the second spelling instead; a call uses the first.
    fn new<'n>(names: impl Iterator<Item = (&'n str, Option<&'n str>)>) -> Self {
        let mut all = Self::default();
        for (name, other) in names {
            let number = all.count();
            // Several operations share an action.
            if let hash_map::Entry::Vacant(entry) = all.numbers.entry(name.into()) {
                entry.insert(number);
                for spelling in iter::once(name).chain(other) {
                    all.spellings.entry(spelling.into()).or_default().push(number);
                }
            }
        }
        all
    }

    /// How many numbers there are, with [`ANY`].
    fn count(&self) -> usize {
        self.numbers.len() + 1
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Every name the pattern matches in any of its spellings.
    pub(super) fn matching(&self, glob: &Glob) -> Vec<usize> {
        match glob.literal() {
            Some(name) => self.spellings.get(name).cloned().unwrap_or_default(),
            None => {
                let matches = self.spellings.iter().filter(|(spelling, _)| glob.is_match(spelling));
                matches.flat_map(|(_, numbers)| numbers).copied().collect()
            }
        }
    }

    /// The name that the pattern matches, where it matches one only.
    pub(super) fn only(&self, glob: &Glob) -> Option<&str> {
        let matching: BTreeSet<usize> = self.matching(glob).into_iter().collect();
        let mut names = self.numbers.iter().filter(|(_, number)| matching.contains(number));
        names.next().filter(|_| matching.len() == 1).map(|(name, _)| &**name)
    }

    /// Whether this is one of the names, and a pattern matches it in any of its spellings.
    pub(super) fn matches(&self, globs: &[Glob], name: &str) -> bool {
        let matches = |number| globs.iter().any(|glob| self.matching(glob).contains(&number));
        self.number(name).is_some_and(matches)
    }

    /// `*` is one entry instead of one for each name: many rules for everybody must not fill the memory.
    fn any_or_matching(&self, globs: &[Glob]) -> BTreeSet<usize> {
        if globs.iter().any(|glob| glob.as_str() == "*") {
            return BTreeSet::from([ANY]);
        }
        globs.iter().flat_map(|glob| self.matching(glob)).collect()
    }
}

impl Jobs {
    /// Adds a pattern, unless an earlier one is always first. Rules come in the order of the file.
    fn add(&mut self, glob: &Glob, entry: Entry) {
        if let Some(job) = glob.literal() {
            let same_job = self.literals.entry(job.into()).or_default();
            if !same_job.last().is_some_and(|last| last.always) {
                same_job.push(entry);
            }
            return;
        }
        let prefix = glob.prefix();
        if !self.prefix_lengths.contains(&prefix.len()) {
            self.prefix_lengths.push(prefix.len());
        }
        let same_prefix = self.by_prefix.entry(prefix.into()).or_default();
        if !same_prefix.last().is_some_and(|(last, first)| first.always && last.covers(glob)) {
            same_prefix.push((glob.clone(), entry));
        }
    }

    /// The first rule of which a pattern matches, and that applies.
    fn first(&self, job: &str, applies: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        let applies = |entry: &Entry| entry.always || applies(entry.rule);
        let literal =
            self.literals.get(job).and_then(|same_job| same_job.iter().find(|entry| applies(entry)));
        let by_prefix = self.prefix_lengths.iter().filter_map(|length| {
            let same_prefix = self.by_prefix.get(job.get(..*length)?)?;
            let matches = |(glob, entry): &&(Glob, Entry)| glob.is_match(job) && applies(entry);
            same_prefix.iter().find(matches).map(|(_, entry)| entry)
        });
        literal.into_iter().chain(by_prefix).map(|entry| entry.rule).min()
    }
}

/// The number that stands for every caller, or every project.
const ANY: usize = 0;
