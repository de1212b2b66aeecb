//! Matches job patterns. Job ids are not known when a policy is loaded, so patterns are hashed by what every match has: a
//! prefix, a suffix and a text in between.
//!
//! Only patterns with all three in common are compared one by one.

use std::cell::Cell;
use std::collections::hash_map;
use std::hash::BuildHasher;
use std::slice;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};

use super::{Glob, Rule};

/// The job patterns of some rules, without those that can never match first.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    hasher: RandomState,
    /// The patterns by the hash of their texts.
    patterns: HashMap<u64, EquivalentPatterns>,
    /// The distinct shapes of the patterns.
    shapes: Vec<Shape>,
}

/// Patterns with the same hash. A large policy has many of these lists, most of them with one entry.
#[derive(Debug)]
enum EquivalentPatterns {
    One(Pattern),
    Several(Box<PatternList>),
}

#[derive(Debug, Default)]
struct PatternList {
    /// Patterns of rules that always apply. None covers the next.
    always: Vec<Pattern>,
    sometimes: Vec<Pattern>,
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    glob: Glob,
    /// The number of the rule.
    rule: u32,
    /// Whether the rule applies whenever its lists match: it has no condition and no end.
    always: bool,
}

impl Pattern {
    pub(super) fn new(glob: &Glob, rule: usize, always: bool) -> Self {
        Self { glob: glob.clone(), rule: u32::try_from(rule).unwrap_or(u32::MAX), always }
    }

    fn rule(&self) -> usize {
        self.rule as usize
    }
}

/// The lengths of the texts that a match has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The whole pattern is literal.
    Whole,
    Parts {
        start: usize,
        inside: usize,
        end: usize,
    },
}

/// Which of the rules with a condition or an end to consider.
#[derive(Clone, Copy)]
pub(super) enum Applying<'a> {
    /// Those that this predicate accepts, by number.
    Where(&'a dyn Fn(usize) -> bool),
    /// This one only, within a budget of comparisons.
    Only(usize, &'a Cell<usize>),
}

/// How many patterns of a policy contain each text between wildcards.
pub(super) struct Texts<'r>(HashMap<&'r str, usize>);

impl<'r> Texts<'r> {
    pub(super) fn of(rules: &'r [Rule]) -> Self {
        let mut counts = HashMap::new();
        for text in rules.iter().flat_map(|rule| &rule.jobs).flat_map(Glob::inside) {
            *counts.entry(text).or_default() += 1;
        }
        Self(counts)
    }

    /// Returns the pattern's rarest text, and of those the longest.
    fn rarest<'g>(&self, glob: &'g Glob) -> &'g str {
        let rarity = |text: &&str| (self.0.get(text).copied().unwrap_or_default(), usize::MAX - text.len());
        glob.inside().min_by_key(rarity).unwrap_or_default()
    }
}

impl Jobs {
    /// Adds a pattern, unless an earlier one always matches first. Rules must be added in the order of the file.
    pub(super) fn add(&mut self, pattern: Pattern, texts: &Texts<'_>) {
        let glob = &pattern.glob;
        let (shape, hash) = match glob.literal() {
            Some(job) => (Shape::Whole, self.hasher.hash_one(job)),
            None => {
                let [start, inside, end] = [glob.prefix(), texts.rarest(glob), glob.suffix()];
                let shape = Shape::Parts { start: start.len(), inside: inside.len(), end: end.len() };
                (shape, self.hasher.hash_one([start, inside, end]))
            }
        };
        if !self.shapes.contains(&shape) {
            // A large policy has many of these, most of them with one entry.
            self.shapes.reserve_exact(1);
            self.shapes.push(shape);
        }
        match self.patterns.entry(hash) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(EquivalentPatterns::One(pattern));
            }
            hash_map::Entry::Occupied(mut alike) => alike.get_mut().add(pattern),
        }
    }

    /// Returns the first rule that applies and has a matching pattern. Only `*` matches a call without a job.
    pub(super) fn first(&self, job: Option<&str>, applying: Applying<'_>) -> Option<usize> {
        let Some(job) = job else {
            return self.first_with(self.hasher.hash_one(["", "", ""]), applying, Glob::is_any);
        };
        self.shapes.iter().filter_map(|shape| self.first_of(*shape, job, applying)).min()
    }

    fn first_of(&self, shape: Shape, job: &str, applying: Applying<'_>) -> Option<usize> {
        let matches = |glob: &Glob| glob.is_match(job);
        let Shape::Parts { start, inside, end } = shape else {
            return self.first_with(self.hasher.hash_one(job), applying, matches);
        };
        let (head, rest) = job.split_at_checked(start)?;
        let (middle, tail) = rest.split_at_checked(rest.len().checked_sub(end)?)?;
        // Without an inner text, one look is enough.
        let last = if inside == 0 { 0 } else { middle.len().checked_sub(inside)? };
        let windows = (0..=last).filter_map(|at| middle.get(at..at + inside));
        windows
            .filter_map(|window| {
                self.first_with(self.hasher.hash_one([head, window, tail]), applying, matches)
            })
            .min()
    }

    fn first_with(
        &self,
        hash: u64,
        applying: Applying<'_>,
        matches: impl Fn(&Glob) -> bool,
    ) -> Option<usize> {
        let alike = self.patterns.get(&hash)?;
        let matches = |pattern: &&Pattern| applying.may_compare() && matches(&pattern.glob);
        let certain = alike.always().iter().find(matches).map(Pattern::rule);
        let perhaps = applying.among(alike.sometimes());
        let sooner = perhaps.take_while(|pattern| certain.is_none_or(|certain| pattern.rule() < certain));
        sooner.filter(|pattern| applying.applies(pattern.rule())).find(matches).map(Pattern::rule).or(certain)
    }
}

impl EquivalentPatterns {
    /// Returns the patterns of rules that always apply.
    fn always(&self) -> &[Pattern] {
        match self {
            Self::One(pattern) if pattern.always => slice::from_ref(pattern),
            Self::One(_) => &[],
            Self::Several(several) => &several.always,
        }
    }

    /// Returns the patterns of rules with a condition or an end.
    fn sometimes(&self) -> &[Pattern] {
        match self {
            Self::One(pattern) if !pattern.always => slice::from_ref(pattern),
            Self::One(_) => &[],
            Self::Several(several) => &several.sometimes,
        }
    }

    /// Adds a pattern, unless the last one always matches first.
    fn add(&mut self, pattern: Pattern) {
        // Only `*` matches a call without a job, even if another pattern covers `*`.
        let covers =
            |last: &Pattern| last.glob.covers(&pattern.glob) && last.glob.is_any() >= pattern.glob.is_any();
        if self.always().last().is_some_and(covers) {
            return;
        }
        match self {
            Self::One(first) => {
                let mut several = PatternList::default();
                several.push(first.clone());
                several.push(pattern);
                *self = Self::Several(Box::new(several));
            }
            Self::Several(several) => several.push(pattern),
        }
    }
}

impl PatternList {
    fn push(&mut self, pattern: Pattern) {
        if pattern.always { self.always.push(pattern) } else { self.sometimes.push(pattern) }
    }
}

impl<'a> Applying<'a> {
    fn applies(self, rule: usize) -> bool {
        match self {
            Self::Where(applies) => applies(rule),
            Self::Only(only, _) => rule == only,
        }
    }

    /// Returns the patterns whose rules may be considered.
    fn among<'e>(self, patterns: &'e [Pattern]) -> impl Iterator<Item = &'e Pattern> + use<'e> {
        let (first, last) = match self {
            Self::Where(_) => (0, usize::MAX),
            Self::Only(only, _) => (patterns.partition_point(|pattern| pattern.rule() < only), only),
        };
        patterns.iter().skip(first).take_while(move |pattern| pattern.rule() <= last)
    }

    fn may_compare(self) -> bool {
        match self {
            Self::Where(_) => true,
            Self::Only(_, left) => {
                let rest = left.get().checked_sub(1);
                left.set(rest.unwrap_or_default());
                rest.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Problem, fixture};

    #[test]
    fn patterns_that_all_resemble_each_other_are_compared_for_so_long_and_no_longer() {
        let rules: Vec<String> = (0..100).map(|n| format!("allow * * * *{}*{}*", n / 10, n % 10)).collect();
        let mut rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        rules.extend(["allow * * * *00*", "allow * * * *99*"]);
        let policy = fixture::policy(&rules);
        let found = |comparisons| {
            let findings = policy.findings_within(comparisons, fixture::now());
            let ids = |wanted: fn(&Problem<'_>) -> bool| -> Vec<String> {
                let findings = findings.iter().filter(|finding| wanted(&finding.problem));
                findings.map(|finding| finding.rule.id.clone()).collect()
            };
            let never = ids(|problem| matches!(problem, Problem::NeverDecides(_)));
            (never, ids(|problem| matches!(problem, Problem::NotCompared)))
        };
        assert_eq!(found(1_000_000), (vec!["r101".into(), "r102".into()], vec![]));
        let (never, not_compared) = found(300);
        assert_eq!((never.len(), not_compared.len()), (0, 1), "{not_compared:?}");
    }

    #[test]
    fn a_pattern_is_looked_up_by_the_text_that_the_fewest_have() {
        let rules: Vec<String> = (100..900).map(|n| format!("allow * * * job-*-common-*{n}*-end")).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let policy = fixture::policy(&rules);
        // Each is compared with itself, at most once for each effect.
        let compared_in = |comparisons| {
            let findings = policy.findings_within(comparisons, fixture::now());
            findings.iter().all(|finding| !matches!(finding.problem, Problem::NotCompared))
        };
        assert!(compared_in(rules.len() * 4) && !compared_in(rules.len() / 2));
    }
}
