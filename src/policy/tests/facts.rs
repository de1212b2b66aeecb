//! Decisions that depend on facts of the job, in examples.

use super::super::fixture::{self, OwnedCall};
use super::super::*;
use crate::identity::CallerId;
use Effect::Allow;

/// `allow`, `deny` or the required facts, the rule, and the results of observed rules.
fn said(policy: &Policy, asked: &str) -> String {
    let asked = OwnedCall::parse(asked);
    let names = |keys: Keys| keys.iter().map(Key::as_str).collect::<Vec<_>>().join("+");
    match policy.decide(&asked.call()) {
        Outcome::Undetermined { needs, .. } => format!("by {}", names(needs)),
        Outcome::Decided(Decision { effect, rule, observed, .. }) => {
            let rule = rule.map_or("-", |rule| &rule.id);
            let observed = match observed {
                Observed::Nothing => String::new(),
                Observed::Rule(rule) => format!(", {} {}", rule.effect.observed(), rule.id),
                Observed::Unknown(needs) => format!(", would by {}", names(needs)),
            };
            format!("{} {rule}{observed}", effect.as_str())
        }
    }
}

#[test]
fn what_is_unknown_allows_nothing_and_no_denial_that_may_hold_is_passed_over() {
    let policy = fixture::policy(&[
        "allow editor-api * * own-* if StringMatch mpc:UserData ${proxy:Caller}/*",
        "allow editor-api * * all-*",
        "deny * * * *-q if StringNotEquals mpc:JobStatus WAITING",
        "deny editor-api * * *-x* if StringEquals mpc:UserData locked",
        "deny editor-api * * *-xy",
        "allow editor-api * * all-z* if StringEquals mpc:JobStatus INIT",
        "deny batch-cleaner * * * if StringEquals mpc:UserData locked",
    ]);
    for (why, job, facts, expected) in [
        ("nothing asks for facts", "all-1", "", "allow r2"),
        ("its own is not known to be", "own-1", "", "by mpc:UserData"),
        ("its own", "own-1", "mpc:UserData=editor-api/1", "allow r1"),
        ("another's", "own-1", "mpc:UserData=oncall/1", "deny -"),
        ("nobody's", "own-1", "mpc:UserData=", "deny -"),
        ("a status says nothing of whose", "own-1", "mpc:JobStatus=INIT", "by mpc:UserData"),
        ("a denial may hold", "all-q", "", "by mpc:JobStatus"),
        ("it does not", "all-q", "mpc:JobStatus=WAITING", "allow r2"),
        ("it does", "all-q", "mpc:JobStatus=FAILED", "deny r3"),
        ("a permission and a denial may hold", "own-q", "", "by mpc:UserData+mpc:JobStatus"),
        ("one of them does", "own-q", "mpc:UserData=editor-api/1", "by mpc:JobStatus"),
        ("nothing allows it, whatever is denied", "own-q", "mpc:UserData=", "deny -"),
        ("a denial is known, and others do not matter", "all-xy", "", "deny r5"),
        ("a permission is known, and others do not matter", "all-z", "", "allow r2"),
        ("a job that no such rule matches", "other", "", "deny -"),
    ] {
        let asked = format!("editor-api media-prod {job} {facts}");
        assert_eq!(said(&policy, &asked), expected, "{why}");
    }
    assert_eq!(said(&policy, "batch-cleaner media-prod 1"), "deny -");
}

#[test]
fn a_call_that_creates_a_job_is_matched_by_a_star_alone_and_has_no_job_id() {
    for (rule, expected) in [
        ("allow * * * *", "allow r1"),
        ("allow * * * tmp-*,*", "allow r1"),
        ("allow * * * **", "deny -"),
        ("allow * * * ?*", "deny -"),
        ("allow * * * tmp-*", "deny -"),
        ("allow * mpc:*:cre* * *", "allow r1"),
        ("allow * mpc:*:delete * *", "deny -"),
        ("allow * * * * if StringEquals mpc:JobId 7", "deny -"),
        ("allow * * * * if StringNotEquals mpc:JobId 7", "allow r1"),
        ("allow * * * * if Null mpc:JobId true", "allow r1"),
        ("allow * * * * if ForAllValues:StringMatch mpc:Input in/*", "by mpc:Input"),
    ] {
        assert_eq!(said(&fixture::policy(&[rule]), "oncall media-prod create"), expected, "{rule}");
    }
    // Neither hides the other from the calls that it does not match.
    let policy = fixture::policy(&["deny * * * **", "allow * * * *"]);
    assert_eq!(said(&policy, "oncall media-prod create"), "allow r2");
    assert_eq!(said(&policy, "oncall media-prod 7"), "deny r1");
    let policy = fixture::policy(&["allow * * * **", "allow * * * *"]);
    assert_eq!(said(&policy, "oncall media-prod create"), "allow r2");
    assert_eq!(said(&policy, "oncall media-prod 7"), "allow r1");
}

#[test]
fn a_fact_that_only_a_rule_under_observation_needs_is_told_apart() {
    let policy = fixture::policy(&[
        "allow editor-api * * a*",
        "deny * * * *9",
        "deny * * * *1 observe if StringEquals mpc:UserData locked",
        "allow * * * b* observe if StringEquals mpc:JobStatus INIT",
        "allow * * * a* observe if StringEquals mpc:JobStatus INIT",
        "deny * * * *2 observe",
        "deny * * * b3 if StringEquals mpc:UserData locked",
    ]);
    for (why, asked, expected, needed_facts) in [
        ("a denial may be", "a1", "allow r1, would by mpc:UserData", true),
        ("it would not be", "a1 mpc:UserData=", "allow r1", false),
        ("it would be", "a1 mpc:UserData=locked", "allow r1, would_deny r3", false),
        ("a permission may be", "b", "deny -, would by mpc:JobStatus", true),
        ("it would be", "b mpc:JobStatus=INIT", "deny -, would_allow r4", false),
        ("but for a denial that may be", "b1 mpc:JobStatus=INIT", "deny -, would by mpc:UserData", true),
        ("a permission that is there anyway", "a", "allow r1", false),
        ("a denial that is there anyway", "a19", "deny r2", false),
        ("a denial that is known", "b2", "deny -, would_deny r6", false),
        ("a denial in force that may be", "b3 mpc:JobStatus=INIT", "deny -, would by mpc:UserData", true),
        ("which matters to nobody", "b3 mpc:JobStatus=FAILED", "deny -", false),
    ] {
        let asked = format!("editor-api media-prod {asked}");
        assert_eq!(said(&policy, &asked), expected, "{why}");
        let asked = OwnedCall::parse(&asked);
        let outcome = policy.decide(&asked.call());
        assert_eq!(matches!(outcome.needed_facts(), NeededFacts::ToObserve(_)), needed_facts, "{why}");
        assert!(matches!(outcome.needed_facts(), NeededFacts::ToObserve(_) | NeededFacts::Nothing), "{why}");
    }
}

#[test]
fn a_policy_that_is_only_observed_looks_up_to_observe() {
    let own = "allow * * * * if StringMatch mpc:UserData ${proxy:Caller}/*";
    let asked = OwnedCall::parse("oncall media-prod 7");
    let needs = Keys::from(Key::UserData);
    for (mode, needed_facts, applied) in [
        (Mode::Enforce, NeededFacts::ToDecide(needs), None),
        (Mode::Observe, NeededFacts::ToObserve(needs), Some(Allow)),
    ] {
        let policy = fixture::policy(&[own]).in_mode(mode);
        let outcome = policy.decide(&asked.call());
        assert_eq!((outcome.needed_facts(), outcome.applied()), (needed_facts, applied));
    }
}

#[test]
fn whether_any_job_may_be_allowed_is_known_without_one() {
    let policy = fixture::policy(&[
        "allow oncall mpc:editingTask:view media-prod * if StringEquals mpc:UserData x",
        "deny * * * *",
        "allow editor-api * * tmp-* observe",
    ]);
    let allows = |policy: &Policy, caller: &str, project: &str| {
        policy.allows_some(&CallerId::parse(caller).unwrap(), "mpc:editingTask:view", project)
    };
    assert!(allows(&policy, "oncall", "media-prod"));
    for (caller, project) in
        [("oncall", "media-test"), ("editor-api", "media-prod"), ("stranger", "media-prod"), ("oncall", "x")]
    {
        assert!(!allows(&policy, caller, project), "{caller} {project}");
    }
    assert!(allows(&policy.in_mode(Mode::Observe), "editor-api", "media-prod"));
}
