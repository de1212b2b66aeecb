//! Which parts of a policy can never matter? Patterns that match nothing there is, and rules that never decide.
//!
//! Only what is certain is reported. It does not judge whether a rule is wise.

use std::collections::HashMap;
use std::fmt;

use super::index::Names;
use super::{Glob, Location, Policy, Rule};
use crate::operation::Segment;

/// Something in a rule that can never matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// What is wrong with it.
    pub problem: Problem<'p>,
}

/// What is wrong with a rule. Displays as a sentence without the rule's name and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem<'p> {
    /// An earlier rule, here by its place, has the same id.
    DuplicateId(&'p Location),
    /// This list is empty, and so matches nothing.
    Empty(&'static str),
    /// No caller has a name like this.
    UnknownCaller(&'p Glob),
    /// No operation needs an action like this.
    UnknownAction(&'p Glob),
    /// No project has a name or an id like this.
    UnknownProject(&'p Glob),
    /// No job id can look like this.
    ImpossibleJob(&'p Glob),
    /// Whatever this rule matches is decided by other rules, of which this is one.
    NeverDecides(&'p Rule),
}

impl Policy {
    /// Everything that can never matter, in the order of the rules.
    pub fn findings(&self) -> Vec<Finding<'_>> {
        let mut first_with_id = HashMap::new();
        let mut findings = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let first = *first_with_id.entry(rule.id.as_str()).or_insert(rule);
            let duplicate = (!std::ptr::eq(first, rule)).then_some(Problem::DuplicateId(&first.location));
            let problems = duplicate
                .into_iter()
                .chain(empty_lists(rule))
                .chain(self.unmatched(rule))
                .chain(self.decided_by_others(number, rule));
            findings.extend(problems.map(|problem| Finding { rule, problem }));
        }
        findings
    }

    fn unmatched<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
        let unknown = |names: &'p Names, globs: &'p [Glob]| {
            globs.iter().filter(move |glob| names.matching(glob).is_empty())
        };
        unknown(&self.index.callers, &rule.callers)
            .map(Problem::UnknownCaller)
            .chain(unknown(&self.index.actions, &rule.actions).map(Problem::UnknownAction))
            .chain(unknown(&self.index.projects, &rule.projects).map(Problem::UnknownProject))
            .chain(rule.jobs.iter().filter(|glob| !can_be_job(glob)).map(Problem::ImpossibleJob))
    }

    /// A denial that covers a rule, or an earlier rule of its own effect, decides in its place.
    fn decided_by_others<'p>(&'p self, number: usize, rule: &'p Rule) -> Option<Problem<'p>> {
        let cells = self.index.cells(rule);
        let calls = cells.iter().flat_map(|cell| rule.jobs.iter().map(move |glob| (*cell, glob.as_str())));
        let mut deciding =
            calls.filter_map(|(cell, jobs)| self.index.first(cell, jobs)).map(|(_, rule)| rule);
        let other = deciding.next().filter(|first| *first != number)?;
        if deciding.any(|next| next == number) {
            return None;
        }
        self.rules.get(other).map(Problem::NeverDecides)
    }
}

fn empty_lists<'p>(rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
    let lists = [
        ("callers", &rule.callers),
        ("actions", &rule.actions),
        ("projects", &rule.projects),
        ("jobs", &rule.jobs),
    ];
    lists.into_iter().filter(|(_, globs)| globs.is_empty()).map(|(name, _)| Problem::Empty(name))
}

/// A job id is a segment of the target's grammar; what a `*` stands for is left out here.
fn can_be_job(glob: &Glob) -> bool {
    let fixed: String = glob.as_str().split('*').collect();
    fixed.is_empty() || Segment::parse(&fixed).is_some()
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId(first) => write!(f, "the rule at {first} has the same id"),
            Self::Empty(list) => write!(f, "`{list}` is empty, which matches nothing; write `\"*\"` for any"),
            Self::UnknownCaller(glob) => write!(f, "no caller is named `{glob}`"),
            Self::UnknownAction(glob) => write!(f, "no operation has the action `{glob}`"),
            Self::UnknownProject(glob) => write!(f, "no project has the name or id `{glob}`"),
            Self::ImpossibleJob(glob) => {
                write!(f, "no job id can be `{glob}`: it is 1 to 64 of A-Z a-z 0-9 _ -")
            }
            Self::NeverDecides(other) => {
                write!(f, "it never decides: `{}` at {} covers it", other.id, other.location)
            }
        }
    }
}
