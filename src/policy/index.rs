//! Index from calls to rules. The rules, arranged so that finding it costs the same for ten and ten thousand.
//!
//! A call meets only the rules that stand in the places of its caller, action and project (see `names`), of those
//! only the ones whose job pattern resembles its job (see `jobs`), and whether a rule's condition holds is asked
//! last.

use foldhash::{HashMap, HashMapExt};

use super::jobs::{Applying, Jobs, Pattern, Texts};
use super::names::{ANY, Names, RuleSlot, Set, Sets};
use super::{Effect, Glob, Mode, Rule, Scope};
use crate::identity::CallerId;
use crate::operation::ACTIONS;

/// The rules of a policy by what they match.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) callers: Names,
    pub(super) actions: Names,
    pub(super) projects: Names,
    /// The sets of each rule's callers, actions and projects.
    sets: Vec<[Set; 3]>,
    cells: HashMap<[RuleSlot; 3], Rules>,
}

/// Places of callers, of actions and of projects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'i>([&'i [RuleSlot]; 3]);

/// The rules of one cell.
#[derive(Debug, Default)]
struct Rules {
    enforced: Effects,
    observed: Effects,
}

/// The rules of one cell and mode.
#[derive(Debug, Default)]
struct Effects {
    denies: Option<Box<Jobs>>,
    allows: Option<Box<Jobs>>,
}

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
            for ((set, kind), list) in set.iter_mut().zip(&mut kinds).zip(lists(rule)) {
                *set = kind.of(list);
            }
            sets.push(set);
        }
        let by_class = by_class(rules, &sets, &kinds);
        let [callers, actions, projects] = kinds;
        let [callers, actions, projects] =
            [callers.place(by_class.callers), actions.place(true), projects.place(by_class.projects)];
        let mut index = Self { callers, actions, projects, sets, cells: HashMap::new() };
        let texts = Texts::of(rules);
        for (number, rule) in rules.iter().enumerate() {
            for cell in index.cells(number) {
                let jobs = index.cells.entry(cell).or_default().of_mut(rule.mode, rule.effect);
                let always = rule.always_applies();
                rule.jobs.iter().for_each(|glob| jobs.add(Pattern::new(glob, number, always), &texts));
            }
        }
        index
    }

    /// Where the rules for a call stand. `None` where caller, action or project is not a known one.
    pub(super) fn of(&self, caller: &CallerId, action: &str, project: &str) -> Option<Cells<'_>> {
        Some(Cells([
            self.callers.places(caller.as_str())?,
            self.actions.places(action)?,
            self.projects.places(project)?,
        ]))
    }

    /// The job patterns of the rules of this mode and effect, a cell each.
    pub(super) fn jobs<'i>(
        &'i self,
        cells: Cells<'i>,
        mode: Mode,
        effect: Effect,
    ) -> impl Iterator<Item = &'i Jobs> {
        cells.each().filter_map(move |cell| self.cells.get(&cell)?.of(mode, effect))
    }

    /// The set of each rule's callers.
    pub(super) fn sets_of_callers(&self) -> impl Iterator<Item = Set> {
        self.sets.iter().map(|[callers, ..]| *callers)
    }

    /// The cells that a rule stands in.
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

/// The number of the first rule that matches this job by one of these patterns and applies.
///
/// Also takes the text of a pattern for the job: what is found then matches every job that pattern matches; see
/// [`Glob::covers`]. For `*` that is no job: what is found then matches whatever there is.
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

    /// A cell that a rule stands in, and the cells of the rules that match whatever that rule does there.
    pub(super) fn covering(pairs: &'i [[RuleSlot; 2]; 3]) -> Self {
        // The two are one where the rule names everything.
        Self(pairs.each_ref().map(|pair| if pair.starts_with(&[ANY]) { &[ANY][..] } else { pair }))
    }
}

impl Rules {
    fn of(&self, mode: Mode, effect: Effect) -> Option<&Jobs> {
        let effects = match mode {
            Mode::Enforce => &self.enforced,
            Mode::Observe => &self.observed,
        };
        match effect {
            Effect::Allow => effects.allows.as_deref(),
            Effect::Deny => effects.denies.as_deref(),
        }
    }

    fn of_mut(&mut self, mode: Mode, effect: Effect) -> &mut Jobs {
        let effects = match mode {
            Mode::Enforce => &mut self.enforced,
            Mode::Observe => &mut self.observed,
        };
        match effect {
            Effect::Allow => effects.allows.get_or_insert_default(),
            Effect::Deny => effects.denies.get_or_insert_default(),
        }
    }
}

/// Which names get a place for each class of them: that is quickest, and costs an entry for each class a rule
/// matches.
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

fn lists(rule: &Rule) -> [&[Glob]; 3] {
    [&rule.callers, &rule.actions, &rule.projects]
}

/// As many entries cost a few MiB.
const MAX_ENTRIES: usize = 1 << 15;
