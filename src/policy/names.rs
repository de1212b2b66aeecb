//! Matches name patterns. Callers, actions and projects are known when a policy is loaded, so their patterns are
//! resolved then, each list once.
//!
//! It stands below `index`. A *set* is what a list of patterns matches. A *place* is where the rules of sets are
//! found: that of a class of names that are in the same sets, or where there would be too many rules in too many
//! classes, that of each set. Neither takes names times rules of memory.

use std::collections::{BTreeSet, hash_map};
use std::iter;

use foldhash::{HashMap, HashMapExt};

use super::Glob;

/// One kind of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, usize>,
    names: Vec<Name>,
    matched: HashMap<Glob, Matched>,
    /// The places of each set.
    sets: Vec<Box<[RuleSlot]>>,
}

/// One name.
#[derive(Debug)]
struct Name {
    /// A project goes by its name, which comes first, and its id in a rule.
    spellings: Vec<Box<str>>,
    places: Box<[RuleSlot]>,
}

/// What a pattern of the rules matches.
#[derive(Clone, Copy, Debug)]
struct Matched {
    count: usize,
    /// The number of one of them.
    first: usize,
}

/// The number of a set; see [`Sets`].
pub(super) type Set = usize;
/// Where rules are found; see the module.
pub(super) type RuleSlot = u32;

/// The sets of names that the rules' lists match, while they are found.
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
    /// Numbers the names. A pattern may match the second spelling instead; a call uses the first.
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

    /// The set of a list. `*` is one set of its own, also for names that are added later.
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
            // In order, those with the prefix stand together.
            let start = by_spelling.partition_point(|(spelling, _)| **spelling < *glob.prefix());
            let candidates = by_spelling.iter().skip(start);
            let candidates = candidates.take_while(|(spelling, _)| spelling.starts_with(glob.prefix()));
            let matching = candidates.filter(|(spelling, _)| glob.is_match(spelling));
            let numbers: BTreeSet<usize> = matching.map(|(_, number)| *number).collect();
            numbers.into_iter().collect()
        })
    }

    /// In how many places the rules of each set would stand: of each class of names in it, in place of just one.
    pub(super) fn classes(&self) -> Vec<usize> {
        let mut counts = vec![0; self.by_members.len() + 1];
        let classes: BTreeSet<&Vec<Set>> = self.of_names.iter().collect();
        for set in iter::once(&EVERYTHING).chain(classes.into_iter().flatten()) {
            counts.get_mut(*set).into_iter().for_each(|count| *count += 1);
        }
        counts
    }

    /// Gives every name and every set its places.
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
    /// The places where the rules that match the name stand. `None`: it is not one of the names.
    pub(super) fn places(&self, name: &str) -> Option<&[RuleSlot]> {
        self.numbers.get(name).and_then(|number| self.names.get(*number)).map(|name| &*name.places)
    }

    /// The places where a rule with this set stands.
    pub(super) fn of_set(&self, set: Set) -> &[RuleSlot] {
        self.sets.get(set).map_or(&[], |places| places)
    }

    /// Whether this pattern of the rules matches nothing.
    pub(super) fn is_idle(&self, glob: &Glob) -> bool {
        self.matched.get(glob).is_none_or(|matched| matched.count == 0)
    }

    /// The name that this pattern of the rules matches, where it matches one only.
    pub(super) fn only(&self, glob: &Glob) -> Option<&str> {
        let matched = self.matched.get(glob).filter(|matched| matched.count == 1)?;
        self.names.get(matched.first)?.spellings.first().map(|name| &**name)
    }

    /// Whether this is one of the names, and a pattern matches it in any of its spellings.
    pub(super) fn matches(&self, globs: &[Glob], name: &str) -> bool {
        let name = self.numbers.get(name).and_then(|number| self.names.get(*number));
        name.is_some_and(|name| {
            let matches = |glob: &Glob| name.spellings.iter().any(|spelling| glob.is_match(spelling));
            globs.iter().any(matches)
        })
    }
}

/// The place of the rules that match every name, also one that is added later.
pub(super) const ANY: RuleSlot = 0;
const EVERYTHING: Set = 0;
