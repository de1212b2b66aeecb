//! The rules that name a caller, found without comparing every rule with every caller.

use std::collections::HashMap;

use super::names::{RuleSlot, Set};
use super::{Rule, index::Index};
use crate::identity::CallerId;

/// The rules of a policy by caller.
#[derive(Clone, Copy, Debug)]
pub struct RulesByCaller<'p> {
    rules: &'p [Rule],
    index: &'p Index,
    by_caller: &'p ByCaller,
}

/// The numbers of rules by caller. Built on first use.
#[derive(Debug)]
pub(super) struct ByCaller {
    /// The sets with rules in each slot.
    sets: HashMap<RuleSlot, Vec<Set>>,
    /// The numbers of the rules of each set, in order.
    rules: HashMap<Set, Vec<usize>>,
}

impl ByCaller {
    pub(super) fn of(index: &Index) -> Self {
        let mut rules: HashMap<Set, Vec<usize>> = HashMap::new();
        for (number, set) in index.sets_of_callers().enumerate() {
            rules.entry(set).or_default().push(number);
        }
        let mut sets: HashMap<RuleSlot, Vec<Set>> = HashMap::new();
        for set in rules.keys() {
            for place in index.callers.of_set(*set) {
                sets.entry(*place).or_default().push(*set);
            }
        }
        Self { sets, rules }
    }
}

impl<'p> RulesByCaller<'p> {
    pub(super) fn new(rules: &'p [Rule], index: &'p Index, by_caller: &'p ByCaller) -> Self {
        Self { rules, index, by_caller }
    }

    /// Returns the first `count` rules that name the caller, and how many more there are.
    pub fn first(&self, caller: &CallerId, count: usize) -> (Vec<&'p Rule>, usize) {
        let (mut first, mut all) = (Vec::new(), 0);
        for rules in self.lists(caller) {
            all += rules.len();
            first.extend(rules.iter().take(count).copied());
        }
        first.sort_unstable();
        first.truncate(count);
        let more = all - first.len();
        (first.into_iter().filter_map(|number| self.rules.get(number)).collect(), more)
    }

    /// Returns the rules that name the caller, in order. `None` if finding them takes more than `most` steps.
    pub(super) fn at_most(&self, caller: &CallerId, most: usize) -> Option<Vec<&'p Rule>> {
        let mut all = Vec::new();
        for rules in self.lists(caller) {
            if all.len() + rules.len() > most {
                return None;
            }
            all.extend_from_slice(rules);
        }
        all.sort_unstable();
        Some(all.into_iter().filter_map(|number| self.rules.get(number)).collect())
    }

    /// Returns the numbers of the rules that name the caller, one list per set.
    fn lists(&self, caller: &CallerId) -> impl Iterator<Item = &'p [usize]> {
        let ByCaller { sets, rules } = self.by_caller;
        let places = self.index.callers.places(caller.as_str()).unwrap_or_default();
        let sets = places.iter().filter_map(|place| sets.get(place)).flatten();
        sets.filter_map(|set| rules.get(set)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    proptest! {
        #[test]
        fn a_caller_is_named_by_the_rules_of_which_a_pattern_matches_it(rules in fixture::rules(), count in 0..9_usize) {
            let policy = fixture::compile(rules);
            for name in fixture::CALLERS {
                let names = |rule: &&Rule| rule.callers.iter().any(|glob| glob.is_match(name));
                let expected: Vec<&Rule> = policy.rules().iter().filter(names).collect();
                let (first, more) = policy.rules_by_caller().first(&CallerId::parse(name).unwrap(), count);
                prop_assert_eq!(first.len() + more, expected.len());
                prop_assert_eq!(&first, &expected[..first.len()]);
                prop_assert_eq!(first.len(), count.min(expected.len()));
                let all = policy.rules_by_caller().at_most(&CallerId::parse(name).unwrap(), count);
                prop_assert_eq!(all, (expected.len() <= count).then_some(expected));
            }
        }
    }
}
