//! Finds parts of a policy that have no effect or are wider than needed: patterns that match no job, rules that never
//! decide or have expired, wildcards that match a single name. `config` reports names that do not exist.
//!
//! It reports only what is certain, and does not judge whether a rule is wise. Time is an argument.

use std::cell::Cell;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{self, Cells};
use super::jobs::Applying;
use super::names::ANY;
use super::{Effect, Field, Glob, Mode, Policy, Rule, spell_moment};
use crate::operation::{CREATE, Segment};

/// A part of a rule that has no effect or is wider than needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Its position among the rules.
    pub number: usize,
    /// The problem.
    pub problem: Problem<'p>,
}

/// A problem of a rule. Displays as a sentence without the rule's name and location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem<'p> {
    /// No job id can match this pattern.
    ImpossibleJob(&'p Glob),
    /// The rule covers creates, which have no job id yet, but none of its job patterns is `*`. Holds whether it covers other
    /// calls, too.
    JobToBe(bool),
    /// Other rules, such as this one, decide every call that the rule matches.
    NeverDecides(&'p Rule),
    /// From this rule on it was not checked whether rules ever decide.
    NotCompared,
    /// It expired at this time.
    Expired(DateTime<Utc>),
    /// It expires at this time, within 30 days.
    ExpiresSoon(DateTime<Utc>),
    /// In this list of an allow rule, this pattern matches only this name.
    CouldBeNarrower(Field, &'p Glob, &'p str),
    /// This pattern of an allow rule matches all of several actions.
    EveryAction(&'p Glob),
}

impl Policy {
    /// Returns all findings in the order of the rules.
    pub fn findings(&self, now: DateTime<Utc>) -> Vec<Finding<'_>> {
        self.findings_within(MAX_COMPARISONS, now)
    }

    /// Returns all findings, with a limit on comparisons of job patterns.
    pub(super) fn findings_within(&self, comparisons: usize, now: DateTime<Utc>) -> Vec<Finding<'_>> {
        let mut findings = Vec::new();
        let left = Cell::new(comparisons);
        for (number, rule) in self.rules.iter().enumerate() {
            let impossible = rule.jobs.iter().filter(|glob| !can_be_job(glob)).map(Problem::ImpossibleJob);
            let problems = impossible
                .chain(self.job_to_be(rule))
                .chain(ending(rule, now))
                .chain(self.decided_by_others(number, rule, &left))
                .chain(self.too_wide(rule));
            findings.extend(problems.map(|problem| Finding { rule, number, problem }));
        }
        findings
    }

    /// Finds job patterns that cannot match a create.
    fn job_to_be<'p>(&self, rule: &Rule) -> Option<Problem<'p>> {
        let means = |glob: &Glob| self.index.actions.only(glob) == Some(CREATE);
        let about = rule.actions.iter().any(means) && !rule.jobs.is_empty();
        let others = rule.actions.iter().any(|glob| !means(glob) && !self.index.actions.is_idle(glob));
        (about && !rule.matches_job(None)).then_some(Problem::JobToBe(others))
    }

    /// Finds rules that never decide, because a deny rule or an earlier rule of the same effect covers them. Rules with a
    /// condition or an end do not count, and rules under observation count only among themselves. Comparisons are limited:
    /// similar patterns could need one for every pair.
    fn decided_by_others<'p>(
        &'p self,
        number: usize,
        rule: &'p Rule,
        left: &Cell<usize>,
    ) -> Option<Problem<'p>> {
        if left.get() == 0 {
            return None;
        }
        let deciding = self.deciding(number, rule, left);
        if left.get() == 0 {
            return Some(Problem::NotCompared);
        }
        self.rules.get(deciding?).map(Problem::NeverDecides)
    }

    /// Returns the rule that decides instead of this one, if this one never does.
    fn deciding(&self, number: usize, rule: &Rule, left: &Cell<usize>) -> Option<usize> {
        let first = |cell: [_; 3], jobs: Option<&str>| {
            let pairs = cell.map(|place| [place, ANY]);
            let cells = Cells::covering(&pairs);
            let of = |mode, effect| {
                index::first(self.index.jobs(cells, mode, effect), jobs, Applying::Only(number, left))
            };
            match rule.effect {
                Effect::Deny => of(rule.mode, Effect::Deny),
                Effect::Allow => of(Mode::Enforce, Effect::Deny)
                    .or_else(|| of(rule.mode, Effect::Deny))
                    .or_else(|| of(rule.mode, Effect::Allow)),
            }
        };
        let cells = self.index.cells(number);
        let calls = cells.iter().flat_map(|cell| rule.jobs.iter().map(move |glob| (*cell, as_job(glob))));
        let mut deciding = calls.filter_map(|(cell, jobs)| first(cell, jobs));
        let other = deciding.next().filter(|first| *first != number)?;
        (!deciding.any(|next| next == number)).then_some(other)
    }

    /// Finds patterns of an allow rule that would also match names added later.
    fn too_wide<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
        let lists = [
            (Field::Callers, &self.index.callers, &rule.callers),
            (Field::Actions, &self.index.actions, &rule.actions),
            (Field::Projects, &self.index.projects, &rule.projects),
        ];
        let lists = lists.into_iter().filter(|_| rule.effect == Effect::Allow);
        let narrower = lists.flat_map(|(list, names, globs)| {
            let wildcards = globs.iter().filter(|glob| glob.literal().is_none());
            wildcards.filter_map(move |glob| Some(Problem::CouldBeNarrower(list, glob, names.only(glob)?)))
        });
        let every = rule.actions.iter().filter(|glob| rule.effect == Effect::Allow && glob.is_any());
        narrower.chain(every.map(Problem::EveryAction))
    }
}

/// Returns a text that stands for all jobs that the pattern matches; see [`super::index::Index::first`].
fn as_job(glob: &Glob) -> Option<&str> {
    (!glob.is_any()).then_some(glob.as_str())
}

/// Finds whether the rule or its condition has expired or expires soon.
fn ending<'p>(rule: &Rule, now: DateTime<Utc>) -> Option<Problem<'p>> {
    let end = rule.expires.into_iter().chain(rule.condition.ends()).min()?;
    match end {
        _ if rule.is_over(now) || rule.condition.is_over(now) => Some(Problem::Expired(end)),
        _ if end - now < EXPIRY_WARNING => Some(Problem::ExpiresSoon(end)),
        _ => None,
    }
}

/// Whether a job id, a segment of the target's grammar, can match the pattern. Tests it without each `*`, and with a letter
/// for each `?`.
fn can_be_job(glob: &Glob) -> bool {
    let fixed: String = glob.as_str().replace('?', "a").split('*').collect();
    fixed.is_empty() || Segment::parse(&fixed).is_some()
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImpossibleJob(glob) => {
                write!(f, "no job id can be `{glob}`: it is 1 to 64 of A-Z a-z 0-9 _ -")
            }
            Self::JobToBe(others) => {
                let what = if *others { "no call that creates a job" } else { "nothing" };
                write!(f, "it matches {what}: a create has no job id, and only `\"*\"` matches that")
            }
            Self::NeverDecides(other) => write!(f, "`{}` at {} covers it", other.id, other.location),
            Self::NotCompared => {
                f.write_str("rules from here on were not checked for effect: too many similar patterns")
            }
            Self::Expired(end) => write!(f, "it expired on {}", spell_moment(*end)),
            Self::ExpiresSoon(end) => write!(f, "it expires on {}", spell_moment(*end)),
            Self::EveryAction(glob) => {
                write!(f, "`{glob}` in `actions` allows create, view and cancel, and any action added later")
            }
            Self::CouldBeNarrower(list, glob, name) => {
                write!(f, "`{glob}` in `{}` matches only `{name}`, and any name added later", list.as_str())
            }
        }
    }
}

/// Enough for ten thousand rules of which some resemble a few hundred others; takes a quarter of a second.
const MAX_COMPARISONS: usize = 5_000_000;
/// How long before its expiry a rule is reported.
const EXPIRY_WARNING: TimeDelta = TimeDelta::days(30);

#[cfg(test)]
mod tests;
