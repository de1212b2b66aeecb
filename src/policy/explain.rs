//! Explains decisions: why a call is allowed or denied, and what would have allowed it.
//!
//! It makes the real decision first, so the two cannot disagree. Only for a call that no rule allows, or that is
//! undetermined, does it then compare the rules one by one. That is slow, and off the request path.

use std::fmt;

use super::condition::{Keys, Truth};
use super::{Call, Effect, Glob, Mode, Outcome, Policy, Rule, Test, spell_moment};

/// A decision with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// The decision, or the facts that it depends on.
    pub outcome: Outcome<'p>,
    /// The closest allow rule, if the call is denied because no rule matches.
    pub nearest_miss: Option<NearestMiss<'p>>,
    /// If undetermined: the enforced rules that may decide, with the facts that each depends on.
    pub waiting: Vec<(&'p Rule, Keys)>,
}

/// An allow rule that does not allow the call, and its first part that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMiss<'p> {
    /// The rule, and the part that fails. Those before it in [`Field`] match.
    pub closest: Closest<'p>,
    /// The values in the rule, with `, ` between several.
    pub wanted: String,
    /// The call's value instead. `None` if absent or unknown.
    pub got: Option<String>,
}

/// The closest allow rule of a caller, and its first part that fails. Displays what the caller may know: the rule's name and
/// location, but nothing else of the policy and no fact of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closest<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The part that fails.
    pub field: Field,
    /// If the condition fails: its first test that fails.
    pub(super) test: Option<&'p Test>,
}

/// The parts of a rule in the order in which they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `callers`
    Callers,
    /// `actions`
    Actions,
    /// `projects`
    Projects,
    /// `jobs`
    Jobs,
    /// `expires`
    Expires,
    /// `condition`
    Condition,
    /// `mode`: the rule matches, but is only observed.
    Mode,
}

impl Policy {
    /// Explains the decision. If no rule allows the call, finds the closest one: with the most matching parts in the order
    /// of [`Field`], the first in the file of those.
    pub fn explain(&self, call: &Call<'_>) -> Explanation<'_> {
        let outcome = self.decide(call);
        let (nearest_miss, waiting) = match outcome {
            Outcome::Decided(decision) if decision.rule.is_none() => (self.nearest_miss(call), Vec::new()),
            Outcome::Decided(_) => (None, Vec::new()),
            Outcome::Undetermined { .. } => (None, self.waiting(call)),
        };
        Explanation { outcome, nearest_miss, waiting }
    }

    fn waiting(&self, call: &Call<'_>) -> Vec<(&Rule, Keys)> {
        let in_force = self.rules.iter().filter(|rule| rule.mode == Mode::Enforce);
        let matching = in_force.filter(|rule| self.first_failing(rule, call).is_none());
        let unknown = matching.filter_map(|rule| match self.applies(rule, call) {
            Truth::Unknown(keys) => Some((rule, keys)),
            Truth::Yes | Truth::No => None,
        });
        unknown.collect()
    }

    fn nearest_miss(&self, call: &Call<'_>) -> Option<NearestMiss<'_>> {
        let closest = self.closest(call, self.rules.iter())?;
        let Closest { rule, field, test } = closest;
        let globs = |globs: &[Glob]| join(globs.iter().map(Glob::as_str));
        let (wanted, got) = match field {
            Field::Callers => (globs(&rule.callers), Some(call.caller.to_string())),
            Field::Actions => (globs(&rule.actions), Some(call.action.to_owned())),
            Field::Projects => (globs(&rule.projects), Some(call.project.to_owned())),
            Field::Jobs => (globs(&rule.jobs), call.job.map(String::from)),
            Field::Expires => {
                (rule.expires.map(spell_moment).unwrap_or_default(), Some(spell_moment(call.at)))
            }
            Field::Condition => {
                let key = test.and_then(|test| test.key().shown(call, self.project_id(call)));
                (test.map(|test| join(test.values())).unwrap_or_default(), key.map(Into::into))
            }
            Field::Mode => (Mode::Enforce.as_str().to_owned(), Some(rule.mode.as_str().to_owned())),
        };
        Some(NearestMiss { closest, wanted, got })
    }

    /// Returns the closest of the rules that name the caller of a call that no rule allows. A request waits for it, so it
    /// gives up if there are many.
    pub fn closest_of_caller(&self, call: &Call<'_>) -> Option<Closest<'_>> {
        let rules = self.rules_by_caller().at_most(call.caller, COMPARED)?;
        self.closest(call, rules.into_iter())
    }

    fn closest<'p>(&'p self, call: &Call<'_>, rules: impl Iterator<Item = &'p Rule>) -> Option<Closest<'p>> {
        let allows = rules.filter(|rule| rule.effect == Effect::Allow);
        let misses = allows.filter_map(|rule| Some((rule, self.first_failing(rule, call)?)));
        // `max_by_key` would return the last of several.
        let (rule, field) = misses.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let test = (field == Field::Condition)
            .then(|| rule.condition.first_failing(call, self.project_id(call)))
            .flatten();
        Some(Closest { rule, field, test })
    }

    fn first_failing(&self, rule: &Rule, call: &Call<'_>) -> Option<Field> {
        Field::ALL.into_iter().find(|field| !self.matches(*field, rule, call))
    }

    fn matches(&self, field: Field, rule: &Rule, call: &Call<'_>) -> bool {
        let names = &self.index;
        match field {
            Field::Callers => names.callers.matches(&rule.callers, call.caller.as_str()),
            Field::Actions => names.actions.matches(&rule.actions, call.action),
            Field::Projects => names.projects.matches(&rule.projects, call.project),
            Field::Jobs => rule.matches_job(call.job),
            Field::Expires => !rule.is_over(call.at),
            // A condition that is undetermined may hold.
            Field::Condition => rule.condition.holds(call, self.project_id(call)) != Truth::No,
            Field::Mode => rule.mode == Mode::Enforce,
        }
    }
}

impl fmt::Display for Closest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, field, test } = self;
        write!(f, "rule `{}` at {} comes closest, but ", rule.id, rule.location)?;
        // A failing test on a fact would reveal something of the job.
        let test = test.filter(|test| !test.key().is_fact());
        match (field, test) {
            (Field::Expires, _) => f.write_str("it has expired"),
            (Field::Mode, _) => f.write_str("it is in observe mode"),
            (Field::Condition, Some(test)) => {
                write!(f, "its `condition` does not hold: {} of {}", test.operator(), test.key().as_str())
            }
            (Field::Condition, None) => f.write_str("its `condition` does not hold"),
            (field, _) => write!(f, "its `{}` do not match", field.as_str()),
        }
    }
}

impl Field {
    const ALL: [Self; 7] = [
        Self::Callers,
        Self::Actions,
        Self::Projects,
        Self::Jobs,
        Self::Expires,
        Self::Condition,
        Self::Mode,
    ];

    /// Returns its key in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callers => "callers",
            Self::Actions => "actions",
            Self::Projects => "projects",
            Self::Jobs => "jobs",
            Self::Expires => "expires",
            Self::Condition => "condition",
            Self::Mode => "mode",
        }
    }
}

/// The maximum number of rules that are compared while a request waits.
const COMPARED: usize = 64;

fn join<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{self, OwnedCall};
    use super::*;

    #[test]
    fn the_nearest_miss_is_the_permission_that_got_furthest() {
        let policy = fixture::policy(&[
            "allow oncall mpc:editingTask:delete media-prod *",
            "allow editor-api mpc:editingTask:create media-prod *",
            "allow editor-api mpc:editingTask:delete media-prod a-*,b-*",
            "allow editor-api mpc:editingTask:delete media-prod c-*",
            "deny * * media-test *",
            "allow editor-api * nowhere *",
        ]);
        for (why, asked, rule, nearest) in [
            ("allowed", "oncall media-prod 7", Some("r1"), None),
            ("denied by a rule", "oncall media-test 7", Some("r5"), None),
            ("the first of two", "editor-api media-prod 7", None, Some(("r3", "jobs", "a-*, b-*", "7"))),
            ("an unknown project", "editor-api x 7", None, Some(("r3", "projects", "media-prod", "x"))),
            ("an unknown caller", "me media-prod 7", None, Some(("r1", "callers", "oncall", "me"))),
        ] {
            let asked = OwnedCall::parse(asked);
            let explanation = policy.explain(&asked.call());
            let miss = explanation.nearest_miss.as_ref().map(|NearestMiss { closest, wanted, got }| {
                (&*closest.rule.id, closest.field.as_str(), wanted.as_str(), got.as_deref().unwrap())
            });
            let decision = explanation.outcome.decision().unwrap();
            assert_eq!((decision.rule.map(|r| r.id.as_str()), miss), (rule, nearest), "{why}");
        }
    }

    #[test]
    fn a_permission_that_matches_but_does_not_apply_is_nearer_than_any_other() {
        const LISTS: &str = "allow editor-api * media-prod *";
        for (rule, facts, expected) in [
            (" until 2027-01-15", "", ("expires", None, "2027-01-15", Some("2027-01-15"))),
            (" observe", "", ("mode", None, "enforce", Some("observe"))),
            (
                " if IpAddress g:SourceIp 10.2.0.0/16,::1",
                "ip=::ffff:10.3.0.1",
                ("condition", Some("IpAddress g:SourceIp"), "10.2.0.0/16, ::1", Some("10.3.0.1")),
            ),
            (
                " if StringEquals proxy:Listener app",
                "",
                ("condition", Some("StringEquals proxy:Listener"), "app", None),
            ),
            (
                " observe if DateLessThan g:CurrentTime 2027-01-01",
                "",
                ("condition", Some("DateLessThan g:CurrentTime"), "2027-01-01", Some("2027-01-15")),
            ),
            (
                " if StringNotEquals mpc:ProjectId 1111",
                "",
                ("condition", Some("StringNotEquals mpc:ProjectId"), "1111", Some("1111")),
            ),
        ] {
            let policy = fixture::policy(&["allow editor-api * media-prod a*", &format!("{LISTS}{rule}")]);
            let asked = OwnedCall::parse(&format!("editor-api media-prod 7 {facts}"));
            let NearestMiss { closest, wanted, got } = policy.explain(&asked.call()).nearest_miss.unwrap();
            let test = closest.test.map(|test| format!("{} {}", test.operator(), test.key().as_str()));
            let told = (closest.field.as_str(), test.as_deref(), wanted.as_str(), got.as_deref());
            assert_eq!((closest.rule.id.as_str(), told), ("r2", expected), "{rule}");
        }
    }

    #[test]
    fn a_caller_is_told_which_of_its_own_rules_came_closest_and_no_fact() {
        for (rule, asked, expected) in [
            ("* media-prod a-*", "editor-api media-prod 7", Some("its `jobs` do not match")),
            ("* media-test *", "editor-api media-prod 7", Some("its `projects` do not match")),
            (
                "mpc:editingTask:create media-prod *",
                "editor-api media-prod 7",
                Some("its `actions` do not match"),
            ),
            ("* media-prod * until 2027-01-15", "editor-api media-prod 7", Some("it has expired")),
            ("* media-prod * observe", "editor-api media-prod 7", Some("it is in observe mode")),
            (
                "* media-prod * if IpAddress g:SourceIp 10.2.0.0/16",
                "editor-api media-prod 7 ip=10.3.0.1",
                Some("its `condition` does not hold: IpAddress of g:SourceIp"),
            ),
            (
                "* media-prod * if StringEquals mpc:UserData secret/7",
                "editor-api media-prod 7 mpc:UserData=other/8",
                Some("its `condition` does not hold"),
            ),
            ("* media-prod a-*", "oncall media-prod 7", None),
        ] {
            let policy =
                fixture::policy(&[&format!("allow editor-api {rule}"), "deny editor-api * nowhere *"]);
            let asked = OwnedCall::parse(asked);
            let closest = policy.closest_of_caller(&asked.call()).map(|closest| closest.to_string());
            let expected =
                expected.map(|part| format!("rule `r1` at policy.yaml:1 comes closest, but {part}"));
            assert_eq!(closest, expected, "{rule}");
        }
    }

    #[test]
    fn of_a_caller_with_many_rules_the_closest_is_not_looked_for() {
        let rules = |count: usize| -> Vec<String> {
            (0..count).map(|number| format!("allow editor-api * media-prod a-{number}")).collect()
        };
        let asked = OwnedCall::parse("editor-api media-prod 7");
        for (count, is_told) in [(COMPARED, true), (COMPARED + 1, false)] {
            let rules = rules(count);
            let policy = fixture::policy(&rules.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(policy.closest_of_caller(&asked.call()).is_some(), is_told, "{count}");
            assert!(policy.explain(&asked.call()).nearest_miss.is_some());
        }
    }

    #[test]
    fn without_a_permission_there_is_no_nearest_miss() {
        let asked = OwnedCall::parse("editor-api media-prod 7");
        for rules in [&[][..], &["deny oncall * * *"]] {
            let policy = fixture::policy(rules);
            let explanation = policy.explain(&asked.call());
            assert_eq!((explanation.outcome.applied(), explanation.nearest_miss), (Some(Effect::Deny), None));
        }
    }

    proptest! {
        #[test]
        fn an_explanation_agrees_with_the_decision(rules in fixture::rules(), asked in fixture::asked()) {
            let policy = fixture::compile(rules);
            let (decision, explanation) = (policy.decide(&asked.call()), policy.explain(&asked.call()));
            prop_assert_eq!(explanation.outcome, decision);
            let denied = decision.decision().is_some_and(|decision| decision.rule.is_none());
            let has_miss = denied && policy.rules().iter().any(|r| r.effect == Effect::Allow);
            prop_assert_eq!(explanation.nearest_miss.is_some(), has_miss);
            prop_assert_eq!(explanation.waiting.is_empty(), decision.decision().is_some());
        }
    }
}
