//! Which patterns match a job? Job ids are not known when a policy is loaded, so their patterns are looked up by
//! what every match has: its start, its end and something between.
//!
//! It stands below `index`. Only patterns that have all three in common are tried one after another.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::Glob;

/// The job patterns of some rules, where that rule can be the first to match.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    hasher: RandomState,
    /// By the hash of what a match has.
    patterns: HashMap<u64, Vec<(Glob, Entry)>>,
    /// The shapes of those patterns, each once.
    shapes: Vec<Shape>,
}

/// A rule by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) rule: usize,
    /// It matches whenever its lists do: it has no condition and no end.
    pub(super) always: bool,
}

/// How long the texts are that a match has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// It is one text.
    Whole,
    Parts {
        start: usize,
        inside: usize,
        end: usize,
    },
}

impl Jobs {
    /// Adds a pattern, unless an earlier one is always first. Rules come in the order of the file.
    pub(super) fn add(&mut self, glob: &Glob, entry: Entry) {
        let (shape, hash) = match glob.literal() {
            Some(job) => (Shape::Whole, self.hasher.hash_one(job)),
            None => {
                let [start, inside, end] = [glob.prefix(), glob.inside(), glob.suffix()];
                let shape = Shape::Parts { start: start.len(), inside: inside.len(), end: end.len() };
                (shape, self.hasher.hash_one([start, inside, end]))
            }
        };
        if !self.shapes.contains(&shape) {
            // A policy has many of these, most of them with one.
            self.shapes.reserve_exact(1);
            self.shapes.push(shape);
        }
        let alike = self.patterns.entry(hash).or_insert_with(|| Vec::with_capacity(1));
        if !alike.last().is_some_and(|(last, first)| first.always && last.covers(glob)) {
            alike.push((glob.clone(), entry));
        }
    }

    /// The first rule of which a pattern matches, and that applies.
    pub(super) fn first(&self, job: &str, applies: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        self.shapes.iter().filter_map(|shape| self.first_of(*shape, job, applies)).min()
    }

    fn first_of(&self, shape: Shape, job: &str, applies: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        let Shape::Parts { start, inside, end } = shape else {
            return self.first_with(self.hasher.hash_one(job), job, applies);
        };
        let (head, rest) = job.split_at_checked(start)?;
        let (middle, tail) = rest.split_at_checked(rest.len().checked_sub(end)?)?;
        // Without anything inside, one look is enough.
        let last = if inside == 0 { 0 } else { middle.len().checked_sub(inside)? };
        let windows = (0..=last).filter_map(|at| middle.get(at..at + inside));
        windows
            .filter_map(|window| self.first_with(self.hasher.hash_one([head, window, tail]), job, applies))
            .min()
    }

    fn first_with(&self, hash: u64, job: &str, applies: impl Fn(usize) -> bool) -> Option<usize> {
        let matches =
            |(glob, entry): &&(Glob, Entry)| (entry.always || applies(entry.rule)) && glob.is_match(job);
        self.patterns.get(&hash)?.iter().find(matches).map(|(_, entry)| entry.rule)
    }
}
