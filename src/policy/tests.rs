//! The decision, in examples and against a literal implementation.

use proptest::prelude::*;

mod facts;

use super::fixture::{self, OwnedCall};
use super::reference::ReferenceDecision;
use super::*;
use crate::{identity::CallerId, operation::DELETE};
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
        let asked = OwnedCall::parse(asked);
        let decision = fixture::decided(&policy, &asked);
        assert_eq!((decision.effect, decision.rule.map(|r| r.id.as_str())), (effect, rule), "{why}");
    }
}

#[test]
fn nothing_is_allowed_by_leaving_something_out() {
    let complete = fixture::rule("allow editor-api mpc:editingTask:delete media-prod *", 1);
    let asked = OwnedCall::parse("editor-api media-prod 7");
    let effect = |rules: Vec<Rule>| fixture::decided(&fixture::compile(rules), &asked).effect;
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
        let asked = OwnedCall::parse("editor-api media-prod 7");
        assert_eq!(fixture::decided(&policy, &asked).effect, effect, "{actions}");
    }
    let policy = fixture::policy(&["allow * * * *"]);
    let asked = OwnedCall::parse("editor-api media-prod 7");
    let unknown = Call { action: "mpc:editingTask:run", ..asked.call() };
    let denied = Decision { effect: Deny, rule: None, mode: Mode::Enforce, observed: Observed::Nothing };
    assert_eq!(policy.decide(&unknown), Outcome::Decided(denied));
    assert_eq!(policy.decide(&Call { action: DELETE, ..asked.call() }).applied(), Some(Allow));
}

#[test]
fn a_place_displays_as_file_and_line() {
    assert_eq!(fixture::rule("deny * * * *", 12).location.to_string(), "policy.yaml:12");
}

#[test]
fn a_rule_matches_only_while_its_condition_holds_and_before_it_ends() {
    let policy = fixture::policy(&[
        "allow editor-api * * * if IpAddress g:SourceIp 10.0.0.0/8",
        "allow editor-api * * tmp-* until 2027-01-31",
        "allow editor-api * * tmp-*",
        "deny * * * keep-* until 2027-01-31",
        "deny * * * 7 if StringEquals proxy:IdentifiedBy listener",
    ]);
    for (asked, effect, rule) in [
        ("editor-api media-prod 1 ip=10.2.3.4", Allow, Some("r1")),
        ("editor-api media-prod 1 ip=::ffff:10.2.3.4", Allow, Some("r1")),
        ("editor-api media-prod 1 ip=11.2.3.4", Deny, None),
        ("editor-api media-prod 1", Deny, None),
        ("editor-api media-prod tmp-1 ip=10.2.3.4", Allow, Some("r1")),
        ("editor-api media-prod tmp-1 at=2027-01-30T23:59:59Z", Allow, Some("r2")),
        ("editor-api media-prod tmp-1 at=2027-01-31", Allow, Some("r3")),
        ("editor-api media-prod keep-1 ip=10.2.3.4", Deny, Some("r4")),
        ("editor-api media-prod keep-1 ip=10.2.3.4 at=2027-01-31", Allow, Some("r1")),
        ("editor-api media-prod 7 ip=10.2.3.4 by=listener", Deny, Some("r5")),
        ("editor-api media-prod 7 ip=10.2.3.4 by=bearer", Allow, Some("r1")),
    ] {
        let asked_text = asked;
        let asked = OwnedCall::parse(asked);
        let decision = fixture::decided(&policy, &asked);
        let found = (decision.effect, decision.rule.map(|r| r.id.as_str()));
        assert_eq!(found, (effect, rule), "{asked_text}");
    }
}

#[test]
fn a_rule_under_observation_decides_nothing_and_is_told() {
    let policy = fixture::policy(&[
        "allow oncall * * 1*",
        "allow oncall * * * observe",
        "deny oncall * * *3 observe",
        "deny oncall * * *4",
        "allow oncall * * 5 until 2027-01-01 observe",
    ]);
    for (why, job, effect, rule, observed) in [
        ("it agrees with a rule in force", "1", Allow, Some("r1"), Some("r2")),
        ("it does not allow", "2", Deny, None, Some("r2")),
        ("it does not deny", "13", Allow, Some("r1"), Some("r3")),
        ("a denial would win over a permission", "3", Deny, None, Some("r3")),
        ("it would not allow what a rule in force denies", "14", Deny, Some("r4"), None),
        ("it would deny what a rule in force denies", "34", Deny, Some("r4"), None),
        ("it ends like any other", "5", Deny, None, Some("r2")),
    ] {
        let asked = OwnedCall::parse(&format!("oncall media-prod {job}"));
        let decision = fixture::decided(&policy, &asked);
        let id = |rule: Option<&Rule>| rule.map(|rule| rule.id.clone());
        let found = (decision.effect, id(decision.rule), id(decision.observed.rule()));
        assert_eq!(found, (effect, rule.map(String::from), observed.map(String::from)), "{why}");
        assert_eq!(decision.applied(), effect, "{why}");
    }
}

#[test]
fn a_policy_that_is_only_observed_says_what_it_would_and_denies_nothing() {
    let rules = ["allow oncall * * *", "deny oncall * * keep-*"];
    let policy = fixture::policy(&rules).in_mode(Mode::Observe);
    for (asked, effect) in [
        ("oncall media-prod 1", Allow),
        ("oncall media-prod keep-1", Deny),
        ("editor-api media-prod 1", Deny),
    ] {
        let asked = OwnedCall::parse(asked);
        let decision = fixture::decided(&policy, &asked);
        assert_eq!((decision.effect, decision.applied(), decision.mode), (effect, Allow, Mode::Observe));
    }
}

/// Pseudo-random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Many of the names, or of those with two digits, or all of them.
    fn list(&mut self, letter: char) -> String {
        match self.below(10) {
            0 => "*".into(),
            1 => format!("*{}*{}*", self.below(10), self.below(10)),
            _ => {
                let names: Vec<_> = (0..60).map(|_| format!("{letter}{}", self.below(MANY))).collect();
                names.join(",")
            }
        }
    }

    fn rule(&mut self, line: u64) -> Rule {
        let effect = ["allow", "allow", "deny"][self.below(3) as usize];
        let mode = ["", "", " observe"][self.below(3) as usize];
        let (callers, projects, jobs) = (self.list('c'), self.list('p'), self.below(200));
        fixture::rule(&format!("{effect} {callers} * {projects} job-{jobs}*{mode}"), line)
    }
}

const MANY: u64 = 100;

#[test]
fn many_overlapping_lists_decide_as_the_plain_reading_does() {
    let names = |letter: char| (0..MANY).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    let (callers, projects) = (names('c'), names('p'));
    let ids: Vec<CallerId> = callers.iter().map(|name| CallerId::parse(name).unwrap()).collect();
    let scopes: Vec<Scope> = projects
        .iter()
        .map(|name| Scope { name: name.as_str().into(), id: format!("id-{name}").into() })
        .collect();
    let known_callers: Vec<&str> = callers.iter().map(String::as_str).collect();
    let known_projects: Vec<(&str, &str)> = scopes.iter().map(|scope| (&*scope.name, &*scope.id)).collect();
    let known = reference::Known { callers: &known_callers, actions: &[DELETE], projects: &known_projects };
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let rules: Vec<Rule> = (1..=1200).map(|line| dice.rule(line)).collect();
        let policy = Policy::new(rules.clone(), &ids, &scopes, "0123abcd");
        // By classes, a name has a place of its own and that of everything.
        let places = |names: &names::Names, name| names.places(name).unwrap().len();
        assert!(places(&policy.index.callers, "c0") > 2 && places(&policy.index.projects, "p0") > 2);
        for _ in 0..20 {
            let asked = OwnedCall::parse(&format!(
                "c{} p{} job-{}",
                dice.below(MANY + 1),
                dice.below(MANY + 1),
                dice.below(300),
            ));
            let found = ReferenceDecision::of(&policy.decide(&asked.call()));
            assert_eq!(found, reference::decide(&rules, &known, &asked.call(), &[]), "{seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_decision_equals_that_of_the_plain_reading(rules in fixture::rules(), asked in fixture::asked()) {
        let expected = fixture::plain_reading(&rules, &asked);
        let policy = fixture::compile(rules);
        prop_assert_eq!(ReferenceDecision::of(&policy.decide(&asked.call())), expected);
    }

    #[test]
    fn a_denial_more_never_allows_more(
        rules in fixture::rules(), denial in fixture::any_rule(), asked in fixture::asked(), at in 0..9usize,
    ) {
        let before = fixture::compile(rules.clone()).decide(&asked.call()).applied();
        let mut more = rules;
        more.insert(at.min(more.len()), Rule { effect: Deny, ..denial });
        let after = fixture::compile(more).decide(&asked.call()).applied();
        // A denied call stays denied, and an undetermined one does not become allowed.
        prop_assert!(before == Some(Allow) || after == Some(Deny) || (before, after) == (None, None));
    }

    #[test]
    fn the_order_of_rules_never_changes_what_is_decided(
        (rules, shuffled) in fixture::rules().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        asked in fixture::asked(),
    ) {
        let [one, other] = [rules, shuffled].map(|rules| {
            let policy = fixture::compile(rules);
            let outcome = policy.decide(&asked.call());
            let observed = outcome.decision().map(|decision| match decision.observed {
                Observed::Rule(rule) => Ok(rule.effect),
                Observed::Nothing => Err(Keys::NONE),
                Observed::Unknown(needs) => Err(needs),
            });
            (outcome.applied(), outcome.needed_facts(), observed)
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_rule_under_observation_never_changes_what_is_decided(
        rules in fixture::rules(), observed in fixture::any_rule(), asked in fixture::asked(),
    ) {
        let before = fixture::compile(rules.clone()).decide(&asked.call()).applied();
        let mut more = rules;
        more.push(Rule { mode: Mode::Observe, ..observed });
        prop_assert_eq!(fixture::compile(more).decide(&asked.call()).applied(), before);
    }

    #[test]
    fn a_rule_that_has_ended_is_as_if_it_was_not_there(rules in fixture::rules(), asked in fixture::asked()) {
        let call = asked.call();
        let verdict = |rules| ReferenceDecision::of(&fixture::compile(rules).decide(&call));
        let left: Vec<Rule> = rules.iter().filter(|rule| !rule.is_over(call.at)).cloned().collect();
        prop_assert_eq!(verdict(rules), verdict(left));
    }

    #[test]
    fn more_knowledge_never_contradicts_what_is_decided(
        rules in fixture::rules(), asked in fixture::asked(), more in fixture::known_values(),
    ) {
        let policy = fixture::compile(rules);
        let mut told = asked.known_values().to_vec();
        told.extend(more.into_iter().filter(|(key, _)| asked.known_values().iter().all(|(known, _)| known != key)));
        let knowing = asked.clone().knowing(told);
        let (before, after) = (policy.decide(&asked.call()), policy.decide(&knowing.call()));
        if let (Some(before), after) = (before.decision(), after.decision()) {
            let after = after.unwrap();
            prop_assert_eq!(before.effect, after.effect);
            // The rule named may be an earlier one that was undetermined before.
            if let (Some(before), Some(after)) = (before.rule, after.rule) {
                prop_assert!(before.effect == after.effect && after.location.line <= before.location.line);
            }
            if let Observed::Rule(rule) = before.observed {
                prop_assert_eq!(after.observed.rule().map(|rule| rule.effect), Some(rule.effect));
            }
        }
    }

    #[test]
    fn whoever_looks_up_what_is_needed_can_decide(
        rules in fixture::rules(), asked in fixture::asked(), more in fixture::known_values(),
    ) {
        let policy = fixture::compile(rules);
        let needs = match policy.decide(&asked.call()).needed_facts() {
            NeededFacts::Nothing => Keys::NONE,
            NeededFacts::ToDecide(needs) | NeededFacts::ToObserve(needs) => needs,
        };
        // A key by which the others of its side follow.
        let whole = |key: Key| match key.as_str() {
            "mpc:InputBucket" | "mpc:InputObject" => Key::Input,
            "mpc:OutputBucket" | "mpc:OutputObject" => Key::Output,
            _ => key,
        };
        let needed: Vec<Key> = needs.iter().map(whole).collect();
        prop_assert!(asked.known_values().iter().all(|(key, _)| !needed.contains(key)));
        let mut told = asked.known_values().to_vec();
        told.extend(more.iter().filter(|(key, _)| needed.contains(key)).cloned());
        let missing = needed.iter().filter(|key| more.iter().all(|(known, _)| known != *key));
        told.extend(missing.copied().collect::<Keys>().iter().map(|key| (key, Vec::new())));
        let knowing = asked.knowing(told);
        let after = policy.decide(&knowing.call());
        prop_assert!(after.needed_facts() == NeededFacts::Nothing, "{:?}", after);
    }

    #[test]
    fn nothing_is_allowed_by_what_is_unknown(
        rules in fixture::rules(), asked in fixture::asked(), more in prop::collection::vec(fixture::known_values(), 9),
    ) {
        let policy = fixture::compile(rules);
        let unknowing = asked.clone().knowing(Vec::new());
        let allowed = policy.decide(&unknowing.call()).applied() == Some(Allow);
        for told in more {
            let knowing = asked.clone().knowing(told);
            prop_assert!(!allowed || policy.decide(&knowing.call()).applied() == Some(Allow));
        }
    }
}
