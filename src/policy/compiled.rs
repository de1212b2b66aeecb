//! Compiled policies.

use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use super::{
    Call, Effect, Mode, Rule, RulesByCaller, Scope, condition::Truth, index::Index, rules_by_caller::ByCaller,
};
use crate::identity::CallerId;

/// A policy, compiled from its rules and the known names.
#[derive(Debug)]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    pub(super) index: Index,
    by_caller: OnceLock<ByCaller>,
    /// The ids of the projects by name.
    project_ids: HashMap<Arc<str>, Arc<str>>,
    hash: Arc<str>,
    pub(super) mode: Mode,
    /// Whether any rule is under observation. Policies without one need no second search.
    pub(super) observes: bool,
}

impl Policy {
    /// Compiles rules, in the order of the file, for the known callers and projects. `hash` names the version.
    pub fn new(rules: Vec<Rule>, callers: &[CallerId], projects: &[Scope], hash: &str) -> Self {
        let index = Index::new(&rules, callers, projects);
        let ids = projects.iter().map(|project| (Arc::clone(&project.name), Arc::clone(&project.id)));
        let observes = rules.iter().any(|rule| rule.mode == Mode::Observe);
        let (by_caller, project_ids) = (OnceLock::new(), ids.collect());
        Self { rules, index, by_caller, project_ids, hash: hash.into(), mode: Mode::Enforce, observes }
    }

    /// Sets whether the policy is enforced or only observed.
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Whether any enforced rule may allow this caller the action on the project, for some job.
    pub fn allows_some(&self, caller: &CallerId, action: &str, project: &str) -> bool {
        let cells = self.index.of(caller, action, project);
        cells.is_some_and(|cells| self.index.jobs(cells, Mode::Enforce, Effect::Allow).next().is_some())
            || self.mode == Mode::Observe
    }

    /// Whether a rule whose lists match applies, as far as the facts are known.
    pub(super) fn applies(&self, rule: &Rule, call: &Call<'_>) -> Truth {
        if rule.is_over(call.at) { Truth::No } else { rule.condition.holds(call, self.project_id(call)) }
    }

    pub(super) fn project_id(&self, call: &Call<'_>) -> &str {
        self.project_ids.get(call.project).map_or("", |id| id)
    }

    /// Returns the rules in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the rules by caller.
    pub fn rules_by_caller(&self) -> RulesByCaller<'_> {
        RulesByCaller::new(&self.rules, &self.index, self.by_caller.get_or_init(|| ByCaller::of(&self.index)))
    }

    /// Returns the hash that names this version of the policy.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Returns whether it is enforced or only observed.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}
