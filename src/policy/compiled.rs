//! A policy, compiled once from its rules and the names there are.

use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use super::{
    Call, Effect, Mode, Rule, RulesByCaller, Scope, condition::Truth, index::Index, rules_by_caller::ByCaller,
};
use crate::identity::CallerId;

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    pub(super) index: Index,
    by_caller: OnceLock<ByCaller>,
    /// The ids of the projects, by their names.
    project_ids: HashMap<Arc<str>, Arc<str>>,
    hash: Arc<str>,
    pub(super) mode: Mode,
    /// Whether any rule is under observation: most policies have none, and need no second search.
    pub(super) observes: bool,
}

impl Policy {
    /// Compiles rules, in the order of the file, for the callers and projects there are. `hash` names the version.
    pub fn new(rules: Vec<Rule>, callers: &[CallerId], projects: &[Scope], hash: &str) -> Self {
        let index = Index::new(&rules, callers, projects);
        let ids = projects.iter().map(|project| (Arc::clone(&project.name), Arc::clone(&project.id)));
        let observes = rules.iter().any(|rule| rule.mode == Mode::Observe);
        let (by_caller, project_ids) = (OnceLock::new(), ids.collect());
        Self { rules, index, by_caller, project_ids, hash: hash.into(), mode: Mode::Enforce, observes }
    }

    /// The same policy, in force or only observed as a whole.
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Whether any rule in force may allow this caller the action on the project, whatever the job is.
    pub fn allows_some(&self, caller: &CallerId, action: &str, project: &str) -> bool {
        let cells = self.index.of(caller, action, project);
        cells.is_some_and(|cells| self.index.jobs(cells, Mode::Enforce, Effect::Allow).next().is_some())
            || self.mode == Mode::Observe
    }

    /// Whether a rule of which the lists match applies, as far as is known.
    pub(super) fn applies(&self, rule: &Rule, call: &Call<'_>) -> Truth {
        if rule.is_over(call.at) { Truth::No } else { rule.condition.holds(call, self.project_id(call)) }
    }

    pub(super) fn project_id(&self, call: &Call<'_>) -> &str {
        self.project_ids.get(call.project).map_or("", |id| id)
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Its rules by caller.
    pub fn rules_by_caller(&self) -> RulesByCaller<'_> {
        RulesByCaller::new(&self.rules, &self.index, self.by_caller.get_or_init(|| ByCaller::of(&self.index)))
    }

    /// Which version of the policy this is.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Whether it is in force, or only observed.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}
