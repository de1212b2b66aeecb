//! Why was this decided, and what would have allowed it?
//!
//! It stands beside the decision and asks it first, so the two cannot disagree; only for a call that nothing
//! allows does it then go through the rules one by one, which is slow and off the way of a request.

use super::{Call, Effect, Glob, Policy, Rule};

/// A decision with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// Whether the call may be made.
    pub effect: Effect,
    /// The rule that decided. `None`: denied, as nothing allows it.
    pub rule: Option<&'p Rule>,
    /// Where no rule decided: the allow rule that came closest. `None` where there is no allow rule.
    pub nearest_miss: Option<NearestMiss<'p>>,
}

/// An allow rule that does not match, and the first of its lists that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMiss<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The list that fails; those before it in [`Field`] match.
    pub field: Field,
    /// Its patterns as they are written, `, ` between them.
    pub wanted: String,
    /// What the call has instead.
    pub got: String,
}

/// The lists of a rule in the order in which they are compared.
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
}

impl Policy {
    /// The decision, and for a call that nothing allows the rule that came closest: the one with most of caller,
    /// action, project and job matching, in that order; the first in the file of those.
    pub fn explain(&self, call: &Call<'_>) -> Explanation<'_> {
        let decision = self.decide(call);
        let nearest_miss = if decision.rule.is_none() { self.nearest_miss(call) } else { None };
        Explanation { effect: decision.effect, rule: decision.rule, nearest_miss }
    }

    fn nearest_miss(&self, call: &Call<'_>) -> Option<NearestMiss<'_>> {
        let allows = self.rules.iter().filter(|rule| rule.effect == Effect::Allow);
        let misses = allows.filter_map(|rule| Some((rule, self.first_failing(rule, call)?)));
        // `max_by_key` would take the last of several.
        let (rule, field) = misses.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let (wanted, got) = match field {
            Field::Callers => (&rule.callers, call.caller.as_str()),
            Field::Actions => (&rule.actions, call.action),
            Field::Projects => (&rule.projects, call.project),
            Field::Jobs => (&rule.jobs, call.job),
        };
        let wanted = wanted.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ");
        Some(NearestMiss { rule, field, wanted, got: got.to_owned() })
    }

    fn first_failing(&self, rule: &Rule, call: &Call<'_>) -> Option<Field> {
        let names = &self.index;
        [
            (Field::Callers, names.callers.matches(&rule.callers, call.caller.as_str())),
            (Field::Actions, names.actions.matches(&rule.actions, call.action)),
            (Field::Projects, names.projects.matches(&rule.projects, call.project)),
            (Field::Jobs, rule.jobs.iter().any(|glob| glob.is_match(call.job))),
        ]
        .into_iter()
        .find_map(|(field, matches)| (!matches).then_some(field))
    }
}

impl Field {
    /// As in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callers => "callers",
            Self::Actions => "actions",
            Self::Projects => "projects",
            Self::Jobs => "jobs",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{self, Asked};
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
            let asked = Asked::parse(asked);
            let explanation = policy.explain(&asked.call());
            let miss = explanation.nearest_miss.as_ref();
            let miss =
                miss.map(|m| (m.rule.id.as_str(), m.field.as_str(), m.wanted.as_str(), m.got.as_str()));
            assert_eq!((explanation.rule.map(|r| r.id.as_str()), miss), (rule, nearest), "{why}");
        }
    }

    #[test]
    fn without_a_permission_there_is_no_nearest_miss() {
        let asked = Asked::parse("editor-api media-prod 7");
        for rules in [&[][..], &["deny oncall * * *"]] {
            let policy = fixture::policy(rules);
            let explanation = policy.explain(&asked.call());
            assert_eq!(explanation, Explanation { effect: Effect::Deny, rule: None, nearest_miss: None });
        }
    }

    proptest! {
        #[test]
        fn an_explanation_agrees_with_the_decision(rules in fixture::rules(), asked in fixture::asked()) {
            let policy = fixture::compile(rules);
            let (decision, explanation) = (policy.decide(&asked.call()), policy.explain(&asked.call()));
            prop_assert_eq!((explanation.effect, explanation.rule), (decision.effect, decision.rule));
            let has_miss = decision.rule.is_none() && policy.rules().iter().any(|r| r.effect == Effect::Allow);
            prop_assert_eq!(explanation.nearest_miss.is_some(), has_miss);
        }
    }
}
