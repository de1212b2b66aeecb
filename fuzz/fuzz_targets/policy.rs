//! Does a policy say what the plain reading of its rules says, and does a denial more never allow more?
#![no_main]

#[path = "../../src/policy/reference.rs"]
mod reference;

use chrono::DateTime;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::{Corpus, fuzz_target};
use mpc_auth_proxy::identity::CallerId;
use mpc_auth_proxy::policy::{
    Call, Condition, Effect, Glob, Key, Location, Mode, Operator, Policy, Rule, Scope, Test,
};
use reference::Known;
use std::net::IpAddr;

const ACTION: &str = "mpc:editingTask:delete";
const CALLERS: [&str; 3] = ["editor-api", "batch-cleaner", "oncall"];
const PROJECTS: [(&str, &str); 2] = [("media-prod", "1111"), ("media-test", "2222")];

/// Rules and a call, in numbers and texts that mostly mean something.
#[derive(Arbitrary, Debug)]
struct Input<'i> {
    rules: Vec<AnyRule<'i>>,
    denial: AnyRule<'i>,
    call: AnyCall<'i>,
}

#[derive(Arbitrary, Debug)]
struct AnyRule<'i> {
    allow: bool,
    observe: bool,
    callers: u8,
    project: u8,
    jobs: [&'i str; 2],
    ends: Option<i8>,
    tests: Vec<AnyTest<'i>>,
}

#[derive(Arbitrary, Debug)]
struct AnyTest<'i> {
    operator: u8,
    if_exists: bool,
    key: u8,
    value: AnyValue<'i>,
    second: AnyValue<'i>,
}

#[derive(Arbitrary, Debug)]
enum AnyValue<'i> {
    Text(&'i str),
    Time(i8),
    Network(IpAddr, u8),
    Switch(bool),
}

#[derive(Arbitrary, Debug)]
struct AnyCall<'i> {
    caller: u8,
    project: u8,
    job: &'i str,
    at: i8,
    source_ip: Option<IpAddr>,
    listener: Option<&'i str>,
    identified_by: Option<&'i str>,
}

fuzz_target!(|input: Input<'_>| -> Corpus {
    let rules = (1..).zip(&input.rules).map(|(line, rule)| rule.rule(line)).collect::<Option<Vec<Rule>>>();
    let (Some(rules), Some(denial), true) = (rules, input.denial.rule(0), input.call.job.is_ascii()) else {
        return Corpus::Reject;
    };
    let AnyCall { project, job, at, source_ip, listener, identified_by, .. } = input.call;
    let ascii = |text: &Option<&str>| text.is_none_or(str::is_ascii);
    // A job id has no `*`; to a policy that would be a pattern.
    if input.rules.len() > 8 || job.len() > 64 || job.contains('*') || !ascii(&listener) || !ascii(&identified_by) {
        return Corpus::Reject;
    }
    let caller = CallerId::parse(pick(&["editor-api", "oncall", "stranger"], input.call.caller)).unwrap();
    let project = pick(&["media-prod", "media-test", "1111", "elsewhere"], project);
    let at = DateTime::from_timestamp(i64::from(at), 0).unwrap();
    let call = Call { caller: &caller, action: ACTION, project, job, at, source_ip, listener, identified_by };

    let known = Known { callers: &CALLERS, actions: &[ACTION], projects: &PROJECTS };
    let expected = reference::decide(&rules, &known, &call);
    let policy = compile(rules.clone());
    let decision = policy.decide(&call);
    let line = |rule: Option<&Rule>| rule.map(|rule| rule.location.line);
    assert_eq!((decision.effect, line(decision.rule), line(decision.observed)), expected);
    assert_eq!(policy.explain(&call).decision, decision);

    let mut more = rules;
    more.push(Rule { effect: Effect::Deny, ..denial });
    let after = compile(more).decide(&call).effect;
    assert!(decision.effect == Effect::Allow || after == Effect::Deny);
    Corpus::Keep
});

fn compile(rules: Vec<Rule>) -> Policy {
    let callers = CALLERS.map(|name| CallerId::parse(name).unwrap());
    let projects = PROJECTS.map(|(name, id)| Scope { name: name.into(), id: id.into() });
    Policy::new(rules, &callers, &projects, "0123abcd")
}

impl AnyRule<'_> {
    /// `None` where a text is no pattern, or the plain reading would take too long.
    fn rule(&self, line: u64) -> Option<Rule> {
        let glob = |text: &str| Some(vec![Glob::parse(text).ok()?]);
        let short = |text: &&str| text.len() <= 12;
        let jobs = self.jobs.iter().filter(|text| short(text)).filter_map(|text| Glob::parse(text).ok());
        let tests = self.tests.iter().take(3).map(AnyTest::test).collect::<Option<_>>()?;
        Some(Rule {
            id: format!("r{line}"),
            effect: if self.allow { Effect::Allow } else { Effect::Deny },
            callers: glob(pick(&["*", "editor-api", "on*", "*-*", "nobody"], self.callers))?,
            actions: glob("mpc:*")?,
            projects: glob(pick(&["*", "media-prod", "media-*", "1111", "*2*"], self.project))?,
            jobs: jobs.collect(),
            condition: Condition::new(tests),
            expires: self.ends.and_then(|end| DateTime::from_timestamp(i64::from(end), 0)),
            mode: if self.observe { Mode::Observe } else { Mode::Enforce },
            location: Location { file: "policy.yaml".into(), line },
            reason: None,
        })
    }
}

impl AnyTest<'_> {
    fn test(&self) -> Option<Test> {
        let names: Vec<&str> = Operator::names().collect();
        let suffix = if self.if_exists { "IfExists" } else { "" };
        let operator = Operator::parse(&format!("{}{suffix}", pick(&names, self.operator)))?;
        let values = [self.value.text()?, self.second.text()?];
        Test::new(operator, *pick(&Key::ALL.each_ref(), self.key), &values.each_ref().map(|v| v.as_str())).ok()
    }
}

impl AnyValue<'_> {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) if text.is_ascii() && text.len() <= 12 => (*text).to_owned(),
            Self::Text(_) => return None,
            Self::Time(seconds) => DateTime::from_timestamp(i64::from(*seconds), 0)?.to_rfc3339(),
            Self::Network(address, bits) => format!("{address}/{bits}"),
            Self::Switch(switch) => switch.to_string(),
        })
    }
}

fn pick<'a, T: ?Sized>(all: &[&'a T], number: u8) -> &'a T {
    all[usize::from(number) % all.len()]
}
