//! Which parts of a policy can never matter, or say more than they need? Patterns that match nothing there is,
//! rules that never decide or have ended, and wildcards for a single name.
//!
//! Only what is certain is reported. It does not judge whether a rule is wise. The time is an argument.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::Cells;
use super::jobs::Applying;
use super::names::{ANY, Names};
use super::{Effect, Field, Glob, Location, Mode, Policy, Rule, spell_moment};
use crate::operation::Segment;

/// Something in a rule that can never matter, or says more than it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Its position among the rules.
    pub number: usize,
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
    /// From this rule on it was not looked at whether they decide anything.
    NotCompared,
    /// Since this moment it matches nothing.
    Expired(DateTime<Utc>),
    /// From this moment on it will match nothing, and the moment is less than 30 days away.
    ExpiresSoon(DateTime<Utc>),
    /// In this list of a permission, this pattern matches nothing but this name.
    CouldBeNarrower(Field, &'p Glob, &'p str),
}

impl Policy {
    /// Everything that can never matter from now on, or is wider than it need be, in the order of the rules.
    pub fn findings(&self, now: DateTime<Utc>) -> Vec<Finding<'_>> {
        self.findings_within(COMPARISONS, now)
    }

    /// The same, where no more patterns of jobs are compared than so many.
    pub(super) fn findings_within(&self, comparisons: usize, now: DateTime<Utc>) -> Vec<Finding<'_>> {
        let mut first_with_id = HashMap::new();
        let mut findings = Vec::new();
        let left = Cell::new(comparisons);
        for (number, rule) in self.rules.iter().enumerate() {
            let first = *first_with_id.entry(rule.id.as_str()).or_insert(rule);
            let duplicate = (!std::ptr::eq(first, rule)).then_some(Problem::DuplicateId(&first.location));
            let problems = duplicate
                .into_iter()
                .chain(empty_lists(rule))
                .chain(self.unmatched(rule))
                .chain(ending(rule, now))
                .chain(self.decided_by_others(number, rule, &left))
                .chain(self.too_wide(rule));
            findings.extend(problems.map(|problem| Finding { rule, number, problem }));
        }
        findings
    }

    fn unmatched<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
        let unknown =
            |names: &'p Names, globs: &'p [Glob]| globs.iter().filter(move |glob| names.is_idle(glob));
        unknown(&self.index.callers, &rule.callers)
            .map(Problem::UnknownCaller)
            .chain(unknown(&self.index.actions, &rule.actions).map(Problem::UnknownAction))
            .chain(unknown(&self.index.projects, &rule.projects).map(Problem::UnknownProject))
            .chain(rule.jobs.iter().filter(|glob| !can_be_job(glob)).map(Problem::ImpossibleJob))
    }

    /// A denial that covers a rule, or an earlier rule of its own effect, decides in its place. Rules that do not
    /// always apply cannot be counted on, and rules under observation only among themselves. As many patterns are
    /// compared as are left: in a policy whose patterns all resemble each other they may be as many as there are pairs.
    fn decided_by_others<'p>(
        &'p self,
        number: usize,
        rule: &'p Rule,
        left: &Cell<usize>,
    ) -> Option<Problem<'p>> {
        if left.get() == 0 {
            return None;
        }
        let deciding = self.deciding(number, rule, left);
        if left.get() == 0 {
            return Some(Problem::NotCompared);
        }
        self.rules.get(deciding?).map(Problem::NeverDecides)
    }

    /// A rule that decides in the place of this one, which never does.
    fn deciding(&self, number: usize, rule: &Rule, left: &Cell<usize>) -> Option<usize> {
        let first = |cell: [_; 3], jobs: Option<&str>| {
            let pairs = cell.map(|place| [place, ANY]);
            let cells = Cells::covering(&pairs);
            let of =
                |mode, effect| self.index.first((cells, jobs), (mode, effect), Applying::Only(number, left));
            match rule.effect {
                Effect::Deny => of(rule.mode, Effect::Deny),
                Effect::Allow => of(Mode::Enforce, Effect::Deny)
                    .or_else(|| of(rule.mode, Effect::Deny))
                    .or_else(|| of(rule.mode, Effect::Allow)),
            }
        };
        let cells = self.index.cells(number);
        let calls = cells.iter().flat_map(|cell| rule.jobs.iter().map(move |glob| (*cell, as_job(glob))));
        let mut deciding = calls.filter_map(|(cell, jobs)| first(cell, jobs));
        let other = deciding.next().filter(|first| *first != number)?;
        (!deciding.any(|next| next == number)).then_some(other)
    }

    /// Patterns of a permission that a name added later would slip through.
    fn too_wide<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = Problem<'p>> {
        let lists = [
            (Field::Callers, &self.index.callers, &rule.callers),
            (Field::Actions, &self.index.actions, &rule.actions),
            (Field::Projects, &self.index.projects, &rule.projects),
        ];
        let lists = lists.into_iter().filter(|_| rule.effect == Effect::Allow);
        lists.flat_map(|(list, names, globs)| {
            let wildcards = globs.iter().filter(|glob| glob.literal().is_none());
            wildcards.filter_map(move |glob| Some(Problem::CouldBeNarrower(list, glob, names.only(glob)?)))
        })
    }
}

/// What to look for in place of every job that the pattern matches; see [`super::index::Index::first`].
fn as_job(glob: &Glob) -> Option<&str> {
    (!glob.is_any()).then_some(glob.as_str())
}

/// Whether the rule, or its condition, has an end that has come or is near.
fn ending<'p>(rule: &Rule, now: DateTime<Utc>) -> Option<Problem<'p>> {
    let end = rule.expires.into_iter().chain(rule.condition.ends()).min()?;
    match end {
        _ if rule.is_over(now) || rule.condition.is_over(now) => Some(Problem::Expired(end)),
        _ if end - now < SOON => Some(Problem::ExpiresSoon(end)),
        _ => None,
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

/// A job id is a segment of the target's grammar; what a `*` stands for is left out here, and a `?` is a letter.
fn can_be_job(glob: &Glob) -> bool {
    let fixed: String = glob.as_str().replace('?', "a").split('*').collect();
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
            Self::NotCompared => f.write_str(
                "whether rules from here on ever decide was not looked at: too many patterns resemble each other",
            ),
            Self::Expired(end) => write!(f, "it matches nothing any more, since {}", spell_moment(*end)),
            Self::ExpiresSoon(end) => write!(f, "it will match nothing from {} on", spell_moment(*end)),
            Self::CouldBeNarrower(list, glob, name) => {
                write!(
                    f,
                    "`{glob}` in `{}` matches only `{name}`, and whatever is added later",
                    list.as_str()
                )
            }
        }
    }
}

/// Some of ten thousand rules resemble a few hundred others: a quarter of a second.
const COMPARISONS: usize = 5_000_000;
/// How long before its end a rule is told to end soon.
const SOON: TimeDelta = TimeDelta::days(30);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    fn findings(rules: &[&str]) -> Vec<String> {
        let policy = fixture::policy(rules);
        // That has a test of its own.
        let wide = |finding: &&Finding<'_>| matches!(finding.problem, Problem::CouldBeNarrower(..));
        let findings = policy.findings(fixture::now());
        findings.iter().filter(|f| !wide(f)).map(|f| format!("{}: {}", f.rule.id, f.problem)).collect()
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
        let wide = |finding: &&Finding<'_>| matches!(finding.problem, Problem::CouldBeNarrower(..));
        let findings = policy.findings(fixture::now());
        let found: Vec<String> =
            findings.iter().filter(|f| !wide(f)).map(|f| f.problem.to_string()).collect();
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

    #[test]
    fn a_rule_that_has_ended_or_is_about_to_is_found() {
        for (rule, expected) in [
            ("until 2027-01-15", Some("it matches nothing any more, since 2027-01-15")),
            ("until 2027-01-15T08:00:01+08:00", Some("it will match nothing from 2027-01-15T00:00:01Z on")),
            ("until 2027-02-13", Some("it will match nothing from 2027-02-13 on")),
            ("until 2027-02-14", None),
            (
                "if DateLessThan g:CurrentTime 2020-01-01,2026-12-31",
                Some("it matches nothing any more, since 2026-12-31"),
            ),
            (
                "if DateLessThanEquals g:CurrentTime 2027-01-15",
                Some("it will match nothing from 2027-01-15 on"),
            ),
            (
                "until 2027-03-01 if DateLessThan g:CurrentTime 2027-02-01",
                Some("it will match nothing from 2027-02-01 on"),
            ),
            ("if DateGreaterThan g:CurrentTime 2020-01-01", None),
        ] {
            let expected: Vec<String> = expected.iter().map(|problem| format!("r1: {problem}")).collect();
            assert_eq!(findings(&[&format!("allow oncall * * * {rule}")]), expected, "{rule}");
        }
    }

    #[test]
    fn a_rule_that_does_not_always_apply_covers_no_other() {
        for rules in [
            ["allow oncall * * a", "deny * * * * until 2028-01-01"],
            ["allow oncall * * a", "deny * * * * if IpAddress g:SourceIp 10.0.0.0/8"],
            ["allow oncall * * a", "deny * * * * observe"],
            ["allow * * * * observe", "allow oncall * * a"],
            ["allow * * * *", "allow oncall * * a observe"],
        ] {
            assert_eq!(findings(&rules), Vec::<String>::new(), "{rules:?}");
        }
        for rules in [
            ["deny * * * *", "allow oncall * * a if IpAddress g:SourceIp 10.0.0.0/8"],
            ["deny * * * *", "allow oncall * * a observe"],
            ["deny * * * * observe", "allow oncall * * a observe"],
            ["allow * * * * observe", "allow oncall * * a observe"],
        ] {
            let expected = "r2: it never decides: `r1` at policy.yaml:1 covers it";
            assert_eq!(findings(&rules), [expected], "{rules:?}");
        }
    }

    #[test]
    fn a_wildcard_of_a_permission_for_a_single_name_is_found() {
        for (rule, expected) in [
            ("allow onc* mpc:editingTask:delete * *", Some(("callers", "onc*", "oncall"))),
            ("allow oncall mpc:*:delete * *", Some(("actions", "mpc:*:delete", "mpc:editingTask:delete"))),
            ("allow oncall mpc:editingTask:delete *-prod *", Some(("projects", "*-prod", "media-prod"))),
            ("allow oncall mpc:editingTask:delete 1* *", Some(("projects", "1*", "media-prod"))),
            ("allow * mpc:editingTask:delete media-* *", None),
            ("deny onc* * *-prod *", None),
        ] {
            let policy = fixture::policy(&[rule]);
            let found: Vec<String> =
                policy.findings(fixture::now()).iter().map(|f| f.problem.to_string()).collect();
            let expected = expected.map(|(list, glob, name)| {
                format!("`{glob}` in `{list}` matches only `{name}`, and whatever is added later")
            });
            assert_eq!(found, Vec::from_iter(expected), "{rule}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_rule_that_is_said_never_to_decide_never_does(rules in fixture::rules(), asked in fixture::asked()) {
            let policy = fixture::compile(rules);
            let decision = policy.decide(&asked.call());
            let never = policy.findings(asked.call().at).into_iter();
            let never = never.filter(|f| matches!(f.problem, Problem::NeverDecides(_) | Problem::Expired(_)));
            for finding in never {
                prop_assert_ne!(Some(finding.rule), decision.rule);
                    prop_assert_ne!(Some(finding.rule), decision.observed);
            }
        }
    }
}
