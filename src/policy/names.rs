//! Resolves name patterns. Callers, actions and projects are known when a policy is loaded, so each list of patterns is
//! resolved once, then.
//!
//! A *set* holds the names that a list of patterns matches. A *slot* holds rules: one slot for each class of names that are
//! in the same sets or, if that would take too many entries, one for each set. Neither takes memory for names times rules.

use std::collections::{BTreeSet, hash_map};
use std::iter;

use foldhash::{HashMap, HashMapExt};

use super::Glob;

#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, usize>,
    names: Vec<Name>,
    matched: HashMap<Glob, Matched>,
    /// The slots of each set.
    sets: Vec<Box<[RuleSlot]>>,
}

#[derive(Debug)]
struct Name {
    /// Its spellings in rules: a project has its name and its id.
    spellings: Vec<Box<str>>,
    places: Box<[RuleSlot]>,
}

#[derive(Clone, Copy, Debug)]
struct Matched {
    count: usize,
    /// The number of the first.
    first: usize,
}

/// The number of a set; see [`Sets`].
pub(super) type Set = usize;
/// The number of a slot; see the module.
pub(super) type RuleSlot = u32;

/// The sets of names that the rules' lists match, while they are collected.
pub(super) struct Sets<'r> {
    names: Names,
    by_spelling: Vec<(Box<str>, usize)>,
    resolved: HashMap<&'r Glob, Vec<usize>>,
    by_list: HashMap<&'r [Glob], Set>,
    by_members: HashMap<Vec<usize>, Set>,
    /// The sets that each name is in.
    of_names: Vec<Vec<Set>>,
}

impl<'r> Sets<'r> {
    /// Numbers the names. Patterns may match either spelling; calls use the first.
    pub(super) fn new<'n>(names: impl Iterator<Item = (&'n str, Option<&'n str>)>) -> Self {
        let mut all = Names::default();
        let mut by_spelling = Vec::new();
        for (name, other) in names {
            let number = all.names.len();
            // Several operations share an action.
            if let hash_map::Entry::Vacant(entry) = all.numbers.entry(name.into()) {
                entry.insert(number);
                let spellings: Vec<Box<str>> = iter::once(name).chain(other).map(Box::from).collect();
                by_spelling.extend(spellings.iter().map(|spelling| (spelling.clone(), number)));
                all.names.push(Name { spellings, places: Box::default() });
            }
        }
        by_spelling.sort_unstable();
        let of_names = vec![Vec::new(); all.names.len()];
        let (resolved, by_list, by_members) = Default::default();
        Self { names: all, by_spelling, resolved, by_list, by_members, of_names }
    }

    /// Returns the set of a list. `*` is a set of its own, which includes names added later.
    pub(super) fn of(&mut self, list: &'r [Glob]) -> Set {
        if let Some(set) = self.by_list.get(list) {
            return *set;
        }
        let mut members = Vec::new();
        for glob in list {
            members.extend_from_slice(self.matching(glob));
        }
        members.sort_unstable();
        members.dedup();
        let set = if list.iter().any(|glob| glob.as_str() == "*") { EVERYTHING } else { self.with(members) };
        self.by_list.insert(list, set);
        set
    }

    fn with(&mut self, members: Vec<usize>) -> Set {
        let next = self.by_members.len() + 1;
        *self.by_members.entry(members).or_insert_with_key(|members| {
            for number in members {
                self.of_names.get_mut(*number).into_iter().for_each(|sets| sets.push(next));
            }
            next
        })
    }

    fn matching(&mut self, glob: &'r Glob) -> &[usize] {
        let by_spelling = &self.by_spelling;
        self.resolved.entry(glob).or_insert_with(|| {
            // Sorted, so spellings with the same prefix are adjacent.
            let start = by_spelling.partition_point(|(spelling, _)| **spelling < *glob.prefix());
            let candidates = by_spelling.iter().skip(start);
            let candidates = candidates.take_while(|(spelling, _)| spelling.starts_with(glob.prefix()));
            let matching = candidates.filter(|(spelling, _)| glob.is_match(spelling));
            let numbers: BTreeSet<usize> = matching.map(|(_, number)| *number).collect();
            numbers.into_iter().collect()
        })
    }

    /// Returns how many slots each set would need with one slot per class.
    pub(super) fn classes(&self) -> Vec<usize> {
        let mut counts = vec![0; self.by_members.len() + 1];
        let classes: BTreeSet<&Vec<Set>> = self.of_names.iter().collect();
        for set in iter::once(&EVERYTHING).chain(classes.into_iter().flatten()) {
            counts.get_mut(*set).into_iter().for_each(|count| *count += 1);
        }
        counts
    }

    /// Assigns slots to every name and set.
    pub(super) fn place(self, by_class: bool) -> Names {
        let Self { mut names, resolved, by_members, of_names, by_list, .. } = self;
        let any = by_list.values().any(|set| *set == EVERYTHING).then_some(ANY);
        let mut of_sets = vec![Vec::new(); by_members.len() + 1];
        let mut classes: HashMap<&[Set], RuleSlot> = HashMap::new();
        let place = |number: usize| RuleSlot::try_from(number).unwrap_or(RuleSlot::MAX);
        for (name, sets) in names.names.iter_mut().zip(&of_names) {
            let own: Vec<RuleSlot> = match by_class {
                false => sets.iter().copied().map(place).collect(),
                true if sets.is_empty() => Vec::new(),
                true => {
                    let next = place(classes.len() + 1);
                    vec![*classes.entry(sets).or_insert_with(|| {
                        for set in sets {
                            of_sets
                                .get_mut(*set)
                                .into_iter()
                                .for_each(|places: &mut Vec<_>| places.push(next));
                        }
                        next
                    })]
                }
            };
            name.places = own.into_iter().chain(any).collect();
        }
        let of_set = |(set, places): (Set, Vec<RuleSlot>)| match set {
            EVERYTHING => Box::from([ANY]),
            _ if by_class => places.into_boxed_slice(),
            _ => Box::from([place(set)]),
        };
        names.sets = of_sets.into_iter().enumerate().map(of_set).collect();
        names.matched = resolved
            .into_iter()
            .map(|(glob, all)| {
                let first = all.first().copied().unwrap_or_default();
                (glob.clone(), Matched { count: all.len(), first })
            })
            .collect();
        names
    }
}

impl Names {
    /// Returns the slots of the rules that match the name. `None` if the name is unknown.
    pub(super) fn places(&self, name: &str) -> Option<&[RuleSlot]> {
        self.numbers.get(name).and_then(|number| self.names.get(*number)).map(|name| &*name.places)
    }

    pub(super) fn of_set(&self, set: Set) -> &[RuleSlot] {
        self.sets.get(set).map_or(&[], |places| places)
    }

    pub(super) fn is_idle(&self, glob: &Glob) -> bool {
        self.matched.get(glob).is_none_or(|matched| matched.count == 0)
    }

    /// Returns the only name that this pattern matches, if it matches exactly one.
    pub(super) fn only(&self, glob: &Glob) -> Option<&str> {
        let matched = self.matched.get(glob).filter(|matched| matched.count == 1)?;
        self.names.get(matched.first)?.spellings.first().map(|name| &**name)
    }

    /// Whether the name is known and a pattern matches one of its spellings.
    pub(super) fn matches(&self, globs: &[Glob], name: &str) -> bool {
        let name = self.numbers.get(name).and_then(|number| self.names.get(*number));
        name.is_some_and(|name| {
            let matches = |glob: &Glob| name.spellings.iter().any(|spelling| glob.is_match(spelling));
            globs.iter().any(matches)
        })
    }
}

/// The slot of rules that match every name, including names added later.
pub(super) const ANY: RuleSlot = 0;
const EVERYTHING: Set = 0;
