//! Each finding by itself, and that a rule reported to never decide never does.

use proptest::prelude::*;

use super::super::fixture;
use super::*;

/// The findings of the given kinds as `ID: PROBLEM`.
fn told(rules: &[&str], wanted: fn(&Problem<'_>) -> bool) -> Vec<String> {
    let policy = fixture::policy(rules);
    let findings = policy.findings(fixture::now());
    let findings = findings.iter().filter(|finding| wanted(&finding.problem));
    findings.map(|finding| format!("{}: {}", finding.rule.id, finding.problem)).collect()
}

fn findings(rules: &[&str]) -> Vec<String> {
    // That has a test of its own.
    told(rules, |problem| !matches!(problem, Problem::CouldBeNarrower(..) | Problem::EveryAction(_)))
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
fn a_permission_of_every_action_is_told_to_be_one() {
    for (rule, expected) in [
        ("allow oncall * media-prod *", 1),
        ("deny oncall * media-prod *", 0),
        ("allow oncall mpc:editingTask:* media-prod *", 0),
    ] {
        let told = told(&[rule], |problem| matches!(problem, Problem::EveryAction(_)));
        assert_eq!(told.len(), expected, "{rule}");
    }
}

#[test]
fn a_pattern_that_no_job_can_match_is_found() {
    let expected = "r1: no job id can be `a/b*`: it is 1 to 64 of A-Z a-z 0-9 _ -";
    assert_eq!(findings(&["allow * * * a/b*,1"]), [expected]);
}

#[test]
fn a_rule_about_jobs_that_have_no_id_yet_is_found_unless_it_is_about_all() {
    const NOTHING: &str = "r1: it matches nothing: a create has no job id, and only `\"*\"` matches that";
    const NO_CREATE: &str = "r1: it matches no call that creates a job: a create has no job id, and only \
                             `\"*\"` matches that";
    for (rule, expected) in [
        ("allow * mpc:editingTask:create * tmp-*", Some(NOTHING)),
        ("deny * mpc:*:cre* * **", Some(NOTHING)),
        ("deny * mpc:editingTask:create,mpc:editingTask:delete * 7", Some(NO_CREATE)),
        ("allow * mpc:editingTask:create * tmp-*,*", None),
        // `*` may well mean the existing actions.
        ("deny * mpc:editingTask:* * keep-*", None),
        ("deny * * * keep-*", None),
    ] {
        assert_eq!(findings(&[rule]), Vec::from_iter(expected), "{rule}");
    }
}

#[test]
fn what_covers_every_job_covers_no_call_without_one() {
    let covered = "r2: `r1` at policy.yaml:1 covers it";
    for (rules, expected) in [
        (["deny * * * *", "deny oncall * * *"], Some(covered)),
        (["deny * * * *", "deny oncall * * **"], Some(covered)),
        (["deny * * * **", "deny oncall * * *"], None),
        (["deny * * * *,**", "deny oncall * * **,*"], Some(covered)),
    ] {
        assert_eq!(findings(&rules), Vec::from_iter(expected), "{rules:?}");
    }
}

#[test]
fn a_rule_that_others_cover_never_decides() {
    let covered = |rule: &str, by: &str| format!("{rule}: `{by}` at policy.yaml:{} covers it", &by[1..]);
    for (why, rules, expected) in [
        ("a denial of all", &["allow oncall * * a*", "deny * * * *"][..], vec![covered("r1", "r2")]),
        (
            "a denial of more jobs",
            &["allow oncall * * tmp-1*", "deny * * * tmp-*"],
            vec![covered("r1", "r2")],
        ),
        ("a denial of fewer jobs", &["allow oncall * * tmp-*", "deny * * * tmp-1*"], vec![]),
        ("a denial of one of two jobs", &["allow oncall * * a,b", "deny * * * a"], vec![]),
        ("a denial of one of two callers", &["allow oncall,editor-api * * a", "deny oncall * * a"], vec![]),
        (
            "two denials together",
            &["allow * * media-prod a,b", "deny * * * a", "deny * * 1111 b"],
            vec![covered("r1", "r2")],
        ),
        ("an equal permission", &["allow oncall * * a", "allow oncall * * a"], vec![covered("r2", "r1")]),
        ("a wider permission before", &["allow * * * *", "allow oncall * * a"], vec![covered("r2", "r1")]),
        ("a wider permission after", &["allow oncall * * a", "allow * * * *"], vec![]),
        ("a permission never hides a denial", &["allow * * * *", "deny oncall * * a"], vec![]),
    ] {
        assert_eq!(findings(rules), expected, "{why}");
    }
}

#[test]
fn a_rule_that_has_ended_or_is_about_to_is_found() {
    for (rule, expected) in [
        ("until 2027-01-15", Some("it expired on 2027-01-15")),
        ("until 2027-01-15T08:00:01+08:00", Some("it expires on 2027-01-15T00:00:01Z")),
        ("until 2027-02-13", Some("it expires on 2027-02-13")),
        ("until 2027-02-14", None),
        ("if DateLessThan g:CurrentTime 2020-01-01,2026-12-31", Some("it expired on 2026-12-31")),
        ("if DateLessThanEquals g:CurrentTime 2027-01-15", Some("it expires on 2027-01-15")),
        ("until 2027-03-01 if DateLessThan g:CurrentTime 2027-02-01", Some("it expires on 2027-02-01")),
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
        let expected = "r2: `r1` at policy.yaml:1 covers it";
        assert_eq!(findings(&rules), [expected], "{rules:?}");
    }
}

#[test]
fn a_wildcard_of_a_permission_for_a_single_name_is_found() {
    for (rule, expected) in [
        ("allow onc* mpc:editingTask:delete * *", Some(("callers", "onc*", "oncall"))),
        (
            "allow oncall mpc:editingTask:d* * *",
            Some(("actions", "mpc:editingTask:d*", "mpc:editingTask:delete")),
        ),
        ("allow oncall mpc:editingTask:delete *-prod *", Some(("projects", "*-prod", "media-prod"))),
        ("allow oncall mpc:editingTask:delete 1* *", Some(("projects", "1*", "media-prod"))),
        ("allow * mpc:editingTask:delete media-* *", None),
        ("deny onc* * *-prod *", None),
    ] {
        let expected = expected.map(|(list, glob, name)| {
            format!("r1: `{glob}` in `{list}` matches only `{name}`, and any name added later")
        });
        assert_eq!(told(&[rule], |_| true), Vec::from_iter(expected), "{rule}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_rule_that_is_said_never_to_decide_never_does(rules in fixture::rules(), asked in fixture::asked()) {
        let policy = fixture::compile(rules);
        let outcome = policy.decide(&asked.call());
        let Some(decision) = outcome.decision() else { return Ok(()) };
        let never = policy.findings(asked.call().at).into_iter();
        let never = never.filter(|f| matches!(f.problem, Problem::NeverDecides(_) | Problem::Expired(_)));
        for finding in never {
            prop_assert_ne!(Some(finding.rule), decision.rule);
            prop_assert_ne!(Some(finding.rule), decision.observed.rule());
        }
    }
}
