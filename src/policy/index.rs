//! The index from calls to rules, as fast for ten thousand rules as for ten.
//!
//! A call is compared only with the rules in the slots of its caller, action and project (see `names`), of those only with
//! the ones whose job pattern may match (see `jobs`). Conditions are evaluated last.

use foldhash::{HashMap, HashMapExt};

use super::jobs::{Applying, Jobs, Pattern, Texts};
use super::names::{ANY, Names, RuleSlot, Set, Sets};
use super::{Effect, Mode, Rule, Scope};
use crate::identity::CallerId;
use crate::operation::ACTIONS;

#[derive(Debug)]
pub(super) struct Index {
    pub(super) callers: Names,
    pub(super) actions: Names,
    pub(super) projects: Names,
    /// The sets of each rule's callers, actions and projects.
    sets: Vec<[Set; 3]>,
    /// The job patterns of each cell, those of each mode and effect by themselves.
    jobs: HashMap<[RuleSlot; 4], Box<Jobs>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'i>([&'i [RuleSlot]; 3]);

impl Index {
    pub(super) fn new(rules: &[Rule], callers: &[CallerId], projects: &[Scope]) -> Self {
        let mut kinds = [
            Sets::new(callers.iter().map(|caller| (caller.as_str(), None))),
            Sets::new(ACTIONS.iter().map(|action| (*action, None))),
            Sets::new(projects.iter().map(|project| (&*project.name, Some(&*project.id)))),
        ];
        let mut sets = Vec::with_capacity(rules.len());
        for rule in rules {
            let mut set = [0; 3];
            let lists = [&rule.callers, &rule.actions, &rule.projects];
            for ((set, kind), list) in set.iter_mut().zip(&mut kinds).zip(lists) {
                *set = kind.of(list);
            }
            sets.push(set);
        }
        let by_class = by_class(rules, &sets, &kinds);
        let [callers, actions, projects] = kinds;
        let [callers, actions, projects] =
            [callers.place(by_class.callers), actions.place(true), projects.place(by_class.projects)];
        let mut index = Self { callers, actions, projects, sets, jobs: HashMap::new() };
        let texts = Texts::of(rules);
        for (number, rule) in rules.iter().enumerate() {
            for cell in index.cells(number) {
                let jobs = index.jobs.entry(key(cell, rule.mode, rule.effect)).or_default();
                let always = rule.always_applies();
                rule.jobs.iter().for_each(|glob| jobs.add(Pattern::new(glob, number, always), &texts));
            }
        }
        index
    }

    /// Returns the cells of a call's rules. `None` if its caller, action or project is unknown.
    pub(super) fn of(&self, caller: &CallerId, action: &str, project: &str) -> Option<Cells<'_>> {
        Some(Cells([
            self.callers.places(caller.as_str())?,
            self.actions.places(action)?,
            self.projects.places(project)?,
        ]))
    }

    /// Returns the job patterns of rules of this mode and effect, cell by cell.
    pub(super) fn jobs<'i>(
        &'i self,
        cells: Cells<'i>,
        mode: Mode,
        effect: Effect,
    ) -> impl Iterator<Item = &'i Jobs> {
        cells.each().filter_map(move |cell| self.jobs.get(&key(cell, mode, effect)).map(|jobs| &**jobs))
    }

    pub(super) fn sets_of_callers(&self) -> impl Iterator<Item = Set> {
        self.sets.iter().map(|[callers, ..]| *callers)
    }

    pub(super) fn cells(&self, rule: usize) -> Vec<[RuleSlot; 3]> {
        let [callers, actions, projects] = self.sets.get(rule).copied().unwrap_or_default();
        let [callers, actions, projects] =
            [self.callers.of_set(callers), self.actions.of_set(actions), self.projects.of_set(projects)];
        let mut cells = Vec::with_capacity(callers.len() * actions.len() * projects.len());
        for caller in callers {
            for action in actions {
                cells.extend(projects.iter().map(|project| [*caller, *action, *project]));
            }
        }
        cells
    }
}

/// Returns the number of the first rule that applies and has one of these patterns that matches the job.
///
/// The text of a pattern can take the place of the job: then the rule matches every job that the pattern matches; see
/// [`super::Glob::covers`]. For `*` pass no job: then the rule matches every call.
pub(super) fn first<'i>(
    jobs: impl Iterator<Item = &'i Jobs>,
    job: Option<&str>,
    applying: Applying<'_>,
) -> Option<usize> {
    jobs.filter_map(|jobs| jobs.first(job, applying)).min()
}

impl<'i> Cells<'i> {
    fn each(self) -> impl Iterator<Item = [RuleSlot; 3]> + use<'i> {
        let Self([callers, actions, projects]) = self;
        let pairs = callers.iter().flat_map(|caller| actions.iter().map(move |action| (*caller, *action)));
        pairs.flat_map(|(caller, action)| projects.iter().map(move |project| [caller, action, *project]))
    }

    /// Returns a cell of a rule, with the cells of the rules that match everything that it matches there.
    pub(super) fn covering(pairs: &'i [[RuleSlot; 2]; 3]) -> Self {
        // Both are the same if the rule names everything.
        Self(pairs.each_ref().map(|pair| if pair.starts_with(&[ANY]) { &[ANY][..] } else { pair }))
    }
}

fn key([caller, action, project]: [RuleSlot; 3], mode: Mode, effect: Effect) -> [RuleSlot; 4] {
    let kind = RuleSlot::from(mode == Mode::Observe) * 2 + RuleSlot::from(effect == Effect::Allow);
    [caller, action, project, kind]
}

/// The kinds of names that get a slot per class. That is fastest, but costs an entry for each class that a rule matches.
struct ClassIndex {
    callers: bool,
    projects: bool,
}

fn by_class(rules: &[Rule], sets: &[[Set; 3]], kinds: &[Sets<'_>; 3]) -> ClassIndex {
    let classes = kinds.each_ref().map(Sets::classes);
    let entries = |by_class: &ClassIndex| {
        let of_rule = |(rule, sets): (&Rule, &[Set; 3])| {
            let wanted = [by_class.callers, true, by_class.projects];
            let counts = classes.iter().zip(sets).zip(wanted);
            let counts = counts.map(
                |((classes, set), wanted)| {
                    if wanted { classes.get(*set).copied().unwrap_or_default() } else { 1 }
                },
            );
            counts.product::<usize>().saturating_mul(rule.jobs.len())
        };
        rules.iter().zip(sets).map(of_rule).fold(0, usize::saturating_add)
    };
    let least = ClassIndex { callers: false, projects: false };
    let most = MAX_ENTRIES.max(entries(&least).saturating_mul(2));
    let choices =
        [ClassIndex { callers: true, projects: true }, ClassIndex { callers: false, projects: true }];
    choices.into_iter().find(|choice| entries(choice) <= most).unwrap_or(least)
}

/// The maximum number of entries, which take a few MiB.
const MAX_ENTRIES: usize = 1 << 15;
