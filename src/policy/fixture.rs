//! Policies and calls for the tests of this module: short to write, or at random.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Call, Effect, Glob, Location, Policy, Rule, Scope};
use crate::identity::CallerId;

pub(super) const ACTION: &str = "mpc:editingTask:delete";
const CALLERS: [&str; 3] = ["editor-api", "batch-cleaner", "oncall"];
const PROJECTS: [(&str, &str); 2] = [("media-prod", "1111"), ("media-test", "2222")];

/// A rule written as `EFFECT CALLERS ACTIONS PROJECTS JOBS`, lists with commas. Its id is `r` and its line.
pub(super) fn rule(text: &str, line: u64) -> Rule {
    let mut words = text.split(' ');
    let effect = if words.next() == Some("deny") { Effect::Deny } else { Effect::Allow };
    let mut globs = || words.next().unwrap().split(',').map(|g| Glob::parse(g).unwrap()).collect();
    Rule {
        id: format!("r{line}"),
        effect,
        callers: globs(),
        actions: globs(),
        projects: globs(),
        jobs: globs(),
        location: Location { file: "policy.yaml".into(), line },
        reason: None,
    }
}

/// Rules written as for [`rule`], at lines 1, 2, ….
pub(super) fn policy(rules: &[&str]) -> Policy {
    compile((1..).zip(rules).map(|(line, text)| rule(text, line)).collect())
}

pub(super) fn compile(rules: Vec<Rule>) -> Policy {
    let callers = CALLERS.map(|name| CallerId::parse(name).unwrap());
    let projects = PROJECTS.map(|(name, id)| Scope { name: name.into(), id: id.into() });
    Policy::new(rules, &callers, &projects, "0123abcd")
}

/// A call that owns its parts.
#[derive(Debug)]
pub(super) struct Asked {
    caller: CallerId,
    project: String,
    job: String,
}

impl Asked {
    /// Written as `CALLER PROJECT JOB`.
    pub(super) fn parse(text: &str) -> Self {
        let [caller, project, job] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Self { caller: CallerId::parse(caller).unwrap(), project: project.into(), job: job.into() }
    }

    pub(super) fn call(&self) -> Call<'_> {
        Call { caller: &self.caller, action: ACTION, project: &self.project, job: &self.job }
    }
}

/// What the rules say, read one by one: the effect and the line of the rule.
pub(super) fn plain_reading(rules: &[Rule], call: &Call<'_>) -> (Effect, Option<u64>) {
    let project = PROJECTS.iter().find(|(name, _)| *name == call.project);
    let known = CALLERS.contains(&call.caller.as_str()) && call.action == ACTION;
    let (true, Some((name, id))) = (known, project) else { return (Effect::Deny, None) };
    let any = |globs: &[Glob], names: &[&str]| {
        globs.iter().any(|glob| names.iter().any(|name| plain_match(glob.as_str(), name)))
    };
    let matches = |rule: &&Rule| {
        any(&rule.callers, &[call.caller.as_str()])
            && any(&rule.actions, &[call.action])
            && any(&rule.projects, &[name, id])
            && any(&rule.jobs, &[call.job])
    };
    let first = |effect| rules.iter().filter(|rule| rule.effect == effect).find(matches);
    let deciding = first(Effect::Deny).or_else(|| first(Effect::Allow));
    (deciding.map_or(Effect::Deny, |rule| rule.effect), deciding.map(|rule| rule.location.line))
}

/// The meaning of a pattern, by trying everything.
pub(super) fn plain_match(glob: &str, text: &str) -> bool {
    match glob.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|skip| plain_match(rest, &text[skip..])),
        Some((letter, rest)) => text.strip_prefix(letter).is_some_and(|text| plain_match(rest, text)),
    }
}

/// Up to eight rules, at lines 1, 2, ….
pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), 0..8).prop_map(|rules| {
        let place = |(line, rule): (u64, Rule)| Rule {
            id: format!("r{line}"),
            location: Location { line, ..rule.location.clone() },
            ..rule
        };
        (1..).zip(rules).map(place).collect()
    })
}

pub(super) fn any_rule() -> impl Strategy<Value = Rule> {
    (
        select(vec!["allow", "deny"]),
        select(vec!["*", "*", "editor-api", "batch-cleaner,oncall", "*-*", "on*", "nobody"]),
        select(vec!["*", "mpc:*:delete", ACTION, ACTION, "mpc:editingTask:create"]),
        select(vec!["*", "*", "media-prod", "media-*", "1111", "2222,media-prod", "*1*", "nowhere"]),
        prop::collection::vec(job_glob(), 1..4).prop_map(|globs| globs.join(",")),
    )
        .prop_map(|(effect, callers, actions, projects, jobs)| {
            rule(&format!("{effect} {callers} {actions} {projects} {jobs}"), 0)
        })
}

/// Few letters, so that patterns and jobs often meet.
pub(super) fn job_glob() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab*]{1,6}", 1 => Just("*".to_owned()), 1 => "[ab]{1,3}\\*"]
}

pub(super) fn asked() -> impl Strategy<Value = Asked> {
    (
        select(vec!["editor-api", "batch-cleaner", "oncall", "stranger"]),
        select(vec!["media-prod", "media-test", "media-prod", "media-test", "1111", "elsewhere"]),
        "[ab]{1,6}",
    )
        .prop_map(|(caller, project, job)| Asked::parse(&format!("{caller} {project} {job}")))
}
