//! Which parts of a policy can never matter? Patterns that match nothing there is, and rules that never decide.
//!
//! Only what is certain is reported. It does not judge whether a rule is wise.

use std::collections::HashMap;
use std::fmt;

use super::index::Names;
use super::{Glob, Location, Policy, Rule};
use crate::operation::Segment;

/// Something in a rule that can never matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// What is wrong with it.
    pub problem: Problem<'p>,
}

/// What is wrong with a rule. Displays as a sentence without the rule's name and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem<'p> {
    /// An earlier rule, here by its place, has the same id.
    DuplicateId(&'p Location),
    /// This list is empty, and so matches nothing.
    Empty(&'static str),
    /// No caller has a name like this.
    UnknownCaller(&'p Glob),
    /// No operation needs an action like this.
    UnknownAction(&'p Glob),
    /// No project has a name or an id like this.
    UnknownProject(&'p Glob),
    /// No job id can look like this.
    ImpossibleJob(&'p Glob),
    /// Whatever this rule matches is decided by other rules, of which this is one.
    NeverDecides(&'p Rule),
}

impl Policy {
    /// Everything that can never matter, in the order of the rules.
    pub fn findings(&self) -> Vec<Finding<'_>> {
        let mut first_with_id = HashMap::new();
        let mut findings = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let first = *first_with_id.entry(rule.id.as_str()).or_insert(rule);
            let duplicate = (!std::ptr::eq(first, rule)).then_some(Problem::DuplicateId(&first.location));
            let problems = duplicate
                .into_iter()
                .chain(empty_lists(rule))
                .chain(self.unmatched(rule))
                .chain(self.decided_by_others(number, rule));
            findings.extend(problems.map(|problem| Finding { rule, problem }));
        }
        findings
    }

    fn unmatched<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
        let unknown = |names: &'p Names, globs: &'p [Glob]| {
            globs.iter().filter(move |glob| names.matching(glob).is_empty())
        };
        unknown(&self.index.callers, &rule.callers)
            .map(Problem::UnknownCaller)
            .chain(unknown(&self.index.actions, &rule.actions).map(Problem::UnknownAction))
            .chain(unknown(&self.index.projects, &rule.projects).map(Problem::UnknownProject))
            .chain(rule.jobs.iter().filter(|glob| !can_be_job(glob)).map(Problem::ImpossibleJob))
    }

    /// A denial that covers a rule, or an earlier rule of its own effect, decides in its place.
    fn decided_by_others<'p>(&'p self, number: usize, rule: &'p Rule) -> Option<Problem<'p>> {
        let cells = self.index.cells(rule);
        let calls = cells.iter().flat_map(|cell| rule.jobs.iter().map(move |glob| (*cell, glob.as_str())));
        let mut deciding =
            calls.filter_map(|(cell, jobs)| self.index.first(cell, jobs)).map(|(_, rule)| rule);
        let other = deciding.next().filter(|first| *first != number)?;
        if deciding.any(|next| next == number) {
            return None;
        }
        self.rules.get(other).map(Problem::NeverDecides)
    }
}

fn empty_lists<'p>(rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
    let lists = [
        ("callers", &rule.callers),
        ("actions", &rule.actions),
        ("projects", &rule.projects),
        ("jobs", &rule.jobs),
    ];
    lists.into_iter().filter(|(_, globs)| globs.is_empty()).map(|(name, _)| Problem::Empty(name))
}

/// A job id is a segment of the target's grammar; what a `*` stands for is left out here.
fn can_be_job(glob: &Glob) -> bool {
    let fixed: String = glob.as_str().split('*').collect();
    fixed.is_empty() || Segment::parse(&fixed).is_some()
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId(first) => write!(f, "the rule at {first} has the same id"),
            Self::Empty(list) => write!(f, "`{list}` is empty, which matches nothing; write `\"*\"` for any"),
            Self::UnknownCaller(glob) => write!(f, "no caller is named `{glob}`"),
            Self::UnknownAction(glob) => write!(f, "no operation has the action `{glob}`"),
            Self::UnknownProject(glob) => write!(f, "no project has the name or id `{glob}`"),
            Self::ImpossibleJob(glob) => {
                write!(f, "no job id can be `{glob}`: it is 1 to 64 of A-Z a-z 0-9 _ -")
            }
            Self::NeverDecides(other) => {
                write!(f, "it never decides: `{}` at {} covers it", other.id, other.location)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    fn findings(rules: &[&str]) -> Vec<String> {
        let policy = fixture::policy(rules);
        policy.findings().iter().map(|f| format!("{}: {}", f.rule.id, f.problem)).collect()
    }

    #[test]
    fn a_policy_in_which_everything_matters_has_no_findings() {
        assert_eq!(
            findings(&[
                "allow editor-api mpc:editingTask:delete media-prod *",
                "allow batch-*,oncall mpc:*:delete 1111,media-* tmp-*,100211",
                "deny * * * keep-*",
                "deny oncall * media-prod tmp-*",
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_there_is_is_found() {
        for (rule, expected) in [
            ("allow oncall,editor * * *", "r1: no caller is named `editor`"),
            ("allow b-* * * *", "r1: no caller is named `b-*`"),
            (
                "allow * mpc:editingTask:create,* * *",
                "r1: no operation has the action `mpc:editingTask:create`",
            ),
            ("allow * * 3333,media-* *", "r1: no project has the name or id `3333`"),
            ("allow * * * a/b*,1", "r1: no job id can be `a/b*`: it is 1 to 64 of A-Z a-z 0-9 _ -"),
        ] {
            assert_eq!(findings(&[rule]), [expected], "{rule}");
        }
    }

    #[test]
    fn an_empty_list_and_an_id_given_twice_are_found() {
        let first = fixture::rule("allow oncall * * *", 4);
        let second = Rule {
            projects: vec![],
            location: Location { line: 9, ..first.location.clone() },
            ..first.clone()
        };
        let policy = fixture::compile(vec![first, second]);
        let found: Vec<String> = policy.findings().iter().map(|f| f.problem.to_string()).collect();
        let expected = [
            "the rule at policy.yaml:4 has the same id",
            "`projects` is empty, which matches nothing; write `\"*\"` for any",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_rule_that_others_cover_never_decides() {
        let covered = |rule: &str, by: &str| {
            format!("{rule}: it never decides: `{by}` at policy.yaml:{} covers it", &by[1..])
        };
        for (why, rules, expected) in [
            ("a denial of all", &["allow oncall * * a*", "deny * * * *"][..], vec![covered("r1", "r2")]),
            (
                "a denial of more jobs",
                &["allow oncall * * tmp-1*", "deny * * * tmp-*"],
                vec![covered("r1", "r2")],
            ),
            ("a denial of fewer jobs", &["allow oncall * * tmp-*", "deny * * * tmp-1*"], vec![]),
            ("a denial of one of two jobs", &["allow oncall * * a,b", "deny * * * a"], vec![]),
            (
                "a denial of one of two callers",
                &["allow oncall,editor-api * * a", "deny oncall * * a"],
                vec![],
            ),
            (
                "two denials together",
                &["allow * * media-prod a,b", "deny * * * a", "deny * * 1111 b"],
                vec![covered("r1", "r2")],
            ),
            ("an equal permission", &["allow oncall * * a", "allow oncall * * a"], vec![covered("r2", "r1")]),
            (
                "a wider permission before",
                &["allow * * * *", "allow oncall * * a"],
                vec![covered("r2", "r1")],
            ),
            ("a wider permission after", &["allow oncall * * a", "allow * * * *"], vec![]),
            ("a permission never hides a denial", &["allow * * * *", "deny oncall * * a"], vec![]),
        ] {
            assert_eq!(findings(rules), expected, "{why}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_rule_that_is_said_never_to_decide_never_does(rules in fixture::rules(), asked in fixture::asked()) {
            let policy = fixture::compile(rules);
            let deciding = policy.decide(&asked.call()).rule;
            let never = policy.findings().into_iter().filter(|f| matches!(f.problem, Problem::NeverDecides(_)));
            for finding in never {
                prop_assert_ne!(Some(finding.rule), deciding);
            }
        }
    }
}
