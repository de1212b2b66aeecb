//! May this caller do this? Deny by default; an explicit deny wins; no omitted field means any.
//!
//! It stands after identity, which proves the caller, and before everything that acts. It is pure: a policy is
//! compiled once from rules and names, and a decision is a few look-ups, without allocation or lock.

mod explain;
mod findings;
#[cfg(test)]
mod fixture;
mod glob;
mod index;

pub use explain::{Explanation, Field, NearestMiss};
pub use findings::{Finding, Problem};
pub use glob::{Glob, GlobError};

use std::fmt;
use std::sync::Arc;

use crate::identity::CallerId;
use index::Index;

/// One rule: what it says about the calls that match all four of its lists. An empty list matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in decisions, audit records and metrics.
    pub id: String,
    /// What it says.
    pub effect: Effect,
    /// Patterns over the names of callers.
    pub callers: Vec<Glob>,
    /// Patterns over IAM actions, such as `mpc:editingTask:*`.
    pub actions: Vec<Glob>,
    /// Patterns over the names and the ids of projects.
    pub projects: Vec<Glob>,
    /// Patterns over job ids.
    pub jobs: Vec<Glob>,
    /// Where it is written.
    pub location: Location,
    /// Why it is there, in the words of who wrote it.
    pub reason: Option<String>,
}

/// What a rule says, and what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call may be made.
    Allow,
    /// The call is refused.
    Deny,
}

/// A line of a file. Displays as `policy.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// A configured project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its id at Huawei Cloud.
    pub id: Arc<str>,
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its configured name.
    pub project: &'a str,
    /// The job id.
    pub job: &'a str,
}

/// The answer to a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Whether the call may be made.
    pub effect: Effect,
    /// The rule that decided, the first in the file where several say the same. `None`: denied, as nothing allows it.
    pub rule: Option<&'p Rule>,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    index: Index,
    hash: Arc<str>,
}

impl Policy {
    /// Compiles rules, in the order of the file, for the callers and projects there are. `hash` names the version.
    pub fn new(rules: Vec<Rule>, callers: &[CallerId], projects: &[Scope], hash: &str) -> Self {
        let index = Index::new(&rules, callers, projects);
        Self { rules, index, hash: hash.into() }
    }

    /// Whether the call may be made. A caller, project or action that is not configured is denied, whatever the
    /// rules say.
    pub fn decide(&self, call: &Call<'_>) -> Decision<'_> {
        let found = self.index.find(call);
        Decision {
            effect: found.map_or(Effect::Deny, |(effect, _)| effect),
            rule: found.and_then(|(_, rule)| self.rules.get(rule)),
        }
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which version of the policy this is.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }
}

impl Effect {
    /// As in policies and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fixture::{self, ACTION, Asked};
    use super::*;
    use Effect::{Allow, Deny};

    #[test]
    fn a_decision_follows_the_first_denial_else_the_first_permission() {
        let policy = fixture::policy(&[
            "allow editor-api mpc:editingTask:delete media-prod *",
            "allow editor-api * * *",
            "allow batch-* mpc:editingTask:* media-prod tmp-*,100211",
            "deny * mpc:*:delete * keep-*",
            "deny oncall * 2222 *",
            "allow oncall mpc:editingTask:delete 1111,2222 *",
        ]);
        for (why, asked, effect, rule) in [
            ("all four lists match", "editor-api media-prod 7", Allow, Some("r1")),
            ("a later rule allows it", "editor-api media-test 7", Allow, Some("r2")),
            ("a pattern of callers and of jobs", "batch-cleaner media-prod tmp-1", Allow, Some("r3")),
            ("a job by its id", "batch-cleaner media-prod 100211", Allow, Some("r3")),
            ("a literal matches itself only", "batch-cleaner media-prod 1002110", Deny, None),
            ("another project", "batch-cleaner media-test tmp-1", Deny, None),
            ("a denial wins over an earlier permission", "editor-api media-prod keep-1", Deny, Some("r4")),
            ("a project by its id", "oncall media-prod 7", Allow, Some("r6")),
            ("a denial wins over a later permission", "oncall media-test 7", Deny, Some("r5")),
            ("a rule that names an id is not asked for by it", "oncall 1111 7", Deny, None),
            ("`*` is every caller there is, and nobody else", "stranger media-prod keep-1", Deny, None),
        ] {
            let asked = Asked::parse(asked);
            let decision = policy.decide(&asked.call());
            assert_eq!((decision.effect, decision.rule.map(|r| r.id.as_str())), (effect, rule), "{why}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_leaving_something_out() {
        let complete = fixture::rule("allow editor-api mpc:editingTask:delete media-prod *", 1);
        let asked = Asked::parse("editor-api media-prod 7");
        let effect = |rules: Vec<Rule>| fixture::compile(rules).decide(&asked.call()).effect;
        assert_eq!(effect(vec![]), Deny);
        assert_eq!(effect(vec![complete.clone()]), Allow);
        assert_eq!(effect(vec![Rule { callers: vec![], ..complete.clone() }]), Deny);
        assert_eq!(effect(vec![Rule { actions: vec![], ..complete.clone() }]), Deny);
        assert_eq!(effect(vec![Rule { projects: vec![], ..complete.clone() }]), Deny);
        assert_eq!(effect(vec![Rule { jobs: vec![], ..complete }]), Deny);
    }

    #[test]
    fn an_action_is_matched_in_whole_and_in_its_case() {
        for (actions, effect) in [
            ("mpc:editingTask:delete", Allow),
            ("mpc:editingTask:*", Allow),
            ("mpc:*:delete", Allow),
            ("mpc:*", Allow),
            ("*", Allow),
            ("mpc:editingTask:create,*:delete", Allow),
            ("mpc:editingtask:delete", Deny),
            ("mpc:editingTask:delet", Deny),
            ("mpc:editingTask:delete:x", Deny),
            ("mpc:editingTask:create", Deny),
            ("editingTask:*", Deny),
        ] {
            let policy = fixture::policy(&[&format!("allow editor-api {actions} * *")]);
            let asked = Asked::parse("editor-api media-prod 7");
            assert_eq!(policy.decide(&asked.call()).effect, effect, "{actions}");
        }
        let policy = fixture::policy(&["allow * * * *"]);
        let asked = Asked::parse("editor-api media-prod 7");
        let unknown = Call { action: "mpc:editingTask:create", ..asked.call() };
        assert_eq!(policy.decide(&unknown), Decision { effect: Deny, rule: None });
        assert_eq!(policy.decide(&Call { action: ACTION, ..asked.call() }).effect, Allow);
    }

    #[test]
    fn a_place_displays_as_file_and_line() {
        assert_eq!(fixture::rule("deny * * * *", 12).location.to_string(), "policy.yaml:12");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_decision_equals_that_of_the_plain_reading(rules in fixture::rules(), asked in fixture::asked()) {
            let expected = fixture::plain_reading(&rules, &asked.call());
            let policy = fixture::compile(rules);
            let decision = policy.decide(&asked.call());
            let found = (decision.effect, decision.rule.map(|rule| rule.location.line));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_denial_more_never_allows_more(
            rules in fixture::rules(), denial in fixture::any_rule(), asked in fixture::asked(), at in 0..9usize,
        ) {
            let before = fixture::compile(rules.clone()).decide(&asked.call()).effect;
            let mut more = rules;
            more.insert(at.min(more.len()), Rule { effect: Deny, ..denial });
            let after = fixture::compile(more).decide(&asked.call()).effect;
            prop_assert!(before == Allow || after == Deny);
        }

        #[test]
        fn the_order_of_rules_never_changes_what_is_decided(
            (rules, shuffled) in fixture::rules().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
            asked in fixture::asked(),
        ) {
            let [one, other] = [rules, shuffled].map(|rules| fixture::compile(rules).decide(&asked.call()).effect);
            prop_assert_eq!(one, other);
        }
    }
}
