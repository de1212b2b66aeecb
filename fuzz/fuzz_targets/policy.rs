//! Fuzzes policies: decisions equal the plain reading of the rules, another deny never allows more, and unknown facts
//! never allow.
#![no_main]

#[path = "../../src/policy/reference.rs"]
mod reference;

use chrono::DateTime;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::{Corpus, fuzz_target};
use mpc_auth_proxy::identity::CallerId;
use mpc_auth_proxy::policy::{
    Call, Condition, Effect, Facts, Glob, JobStatus, Key, Location, Mode, Observed, Operator, Outcome, Policy, Rule,
    Scope, Test,
};
use reference::{Known, Verdict};
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
    told: AnyFacts<'i>,
}

/// What is not told is unknown.
#[derive(Arbitrary, Debug)]
struct AnyFacts<'i> {
    user_data: Option<Option<&'i str>>,
    status: Option<u8>,
    edit_type: Option<Vec<&'i str>>,
    input: Option<Vec<(&'i str, &'i str)>>,
    output: Option<Vec<(&'i str, &'i str)>>,
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
    over: u8,
    operator: u8,
    if_exists: bool,
    key: u8,
    value: AnyValue<'i>,
    second: AnyValue<'i>,
}

#[derive(Arbitrary, Debug)]
enum AnyValue<'i> {
    Text(&'i str),
    Variable(u8, &'i str),
    Time(i8),
    Network(IpAddr, u8),
    Switch(bool),
}

#[derive(Arbitrary, Debug)]
struct AnyCall<'i> {
    caller: u8,
    project: u8,
    job: Option<&'i str>,
    at: i8,
    source_ip: Option<IpAddr>,
    listener: Option<&'i str>,
    identified_by: Option<&'i str>,
}

fuzz_target!(|input: Input<'_>| -> Corpus {
    let rules = (1..).zip(&input.rules).map(|(line, rule)| rule.rule(line)).collect::<Option<Vec<Rule>>>();
    let (Some(rules), Some(denial), Some(told)) = (rules, input.denial.rule(0), input.told.told()) else {
        return Corpus::Reject;
    };
    let AnyCall { project, job, at, source_ip, listener, identified_by, .. } = input.call;
    // A job id has no `*`; to a policy that would be a pattern. The plain reading uses two control characters itself.
    let plain = |text: &Option<&str>| text.is_none_or(|text| text.bytes().all(|b| b.is_ascii() && b > 2));
    let is_job = job.is_none_or(|job| job.len() <= 64 && !job.contains('*'));
    if input.rules.len() > 8 || !is_job || ![job, listener, identified_by].iter().all(plain) {
        return Corpus::Reject;
    }
    let caller = CallerId::parse(pick(&["editor-api", "oncall", "stranger"], input.call.caller)).unwrap();
    let project = pick(&["media-prod", "media-test", "1111", "elsewhere"], project);
    let at = DateTime::from_timestamp(i64::from(at), 0).unwrap();
    let facts = Facts::given(&told).unwrap();
    let call = Call { caller: &caller, action: ACTION, project, job, facts: &facts, at, source_ip, listener, identified_by };

    let known = Known { callers: &CALLERS, actions: &[ACTION], projects: &PROJECTS };
    let expected = reference::decide(&rules, &known, &call, &plainly(&told));
    let policy = compile(rules.clone());
    let outcome = policy.decide(&call);
    assert_eq!(Verdict::of(&outcome), expected);
    assert_eq!(policy.explain(&call).outcome, outcome);
    let unknowing = policy.decide(&Call { facts: Facts::none_known(), ..call }).applied();
    assert!(unknowing.is_none() || unknowing == outcome.applied());

    let mut more = rules;
    more.push(Rule { effect: Effect::Deny, ..denial });
    let (before, after) = (outcome.applied(), compile(more).decide(&call).applied());
    assert!(before == Some(Effect::Allow) || after == Some(Effect::Deny) || (before, after) == (None, None));
    Corpus::Keep
});

/// With what follows from whole inputs and outputs.
fn plainly(told: &[(Key, Vec<String>)]) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    for (key, values) in told {
        all.push((key.as_str(), values.clone()));
        let follow = match key {
            Key::Input => ["mpc:InputBucket", "mpc:InputObject"],
            Key::Output => ["mpc:OutputBucket", "mpc:OutputObject"],
            _ => continue,
        };
        let (buckets, objects): (Vec<_>, Vec<_>) = values.iter().map(|path| path.split_once('/').unwrap()).unzip();
        let owned = |texts: Vec<&str>| texts.into_iter().map(String::from).collect::<Vec<_>>();
        all.extend(follow.into_iter().zip([owned(buckets), owned(objects)]));
    }
    all
}

impl AnyFacts<'_> {
    /// `None` where a text is too long for the plain reading, or none of a job's.
    fn told(&self) -> Option<Vec<(Key, Vec<String>)>> {
        let text = |text: &str| {
            (text.len() <= 12 && text.bytes().all(|b| b.is_ascii() && b > 2)).then(|| text.to_owned())
        };
        let path = |(bucket, object): &(&str, &str)| {
            let bucket = (!bucket.is_empty() && !bucket.contains('/')).then(|| text(bucket))??;
            Some(format!("{bucket}/{}", text(object.strip_prefix('/').unwrap_or(object)).filter(|o| !o.starts_with('/'))?))
        };
        let paths = |paths: &Vec<(&str, &str)>| paths.iter().take(3).map(path).collect::<Option<Vec<_>>>();
        let mut told = Vec::new();
        if let Some(user_data) = self.user_data {
            told.push((Key::UserData, user_data.map(text).into_iter().collect::<Option<Vec<_>>>()?));
        }
        if let Some(status) = self.status {
            let status = JobStatus::ALL.get(usize::from(status % 7));
            told.push((Key::JobStatus, status.map(|status| status.as_str().to_owned()).into_iter().collect()));
        }
        if let Some(edit_type) = &self.edit_type {
            told.push((Key::EditType, edit_type.iter().take(3).map(|t| text(t)).collect::<Option<_>>()?));
        }
        for (key, all) in [(Key::Input, &self.input), (Key::Output, &self.output)] {
            if let Some(all) = all {
                told.push((key, paths(all)?));
            }
        }
        Some(told)
    }
}

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
        let over = pick(&["", "ForAllValues:", "ForAnyValue:"], self.over);
        let operator = Operator::parse(&format!("{over}{}{suffix}", pick(&names, self.operator)))?;
        let values = [self.value.text()?, self.second.text()?];
        Test::new(operator, *pick(&Key::ALL.each_ref(), self.key), &values.each_ref().map(|v| v.as_str())).ok()
    }
}

impl AnyValue<'_> {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) if text.len() <= 12 && text.bytes().all(|b| b.is_ascii() && b > 2) => (*text).to_owned(),
            Self::Text(_) => return None,
            Self::Variable(number, text) if text.len() <= 6 && text.bytes().all(|b| b.is_ascii() && b > 2) => {
                let variable = pick(&["proxy:Caller", "proxy:Listener", "mpc:ProjectId", "*", "?", "$"], *number);
                format!("${{{variable}}}{text}")
            }
            Self::Variable(..) => return None,
            Self::Time(seconds) => DateTime::from_timestamp(i64::from(*seconds), 0)?.to_rfc3339(),
            Self::Network(address, bits) => format!("{address}/{bits}"),
            Self::Switch(switch) => switch.to_string(),
        })
    }
}

fn pick<'a, T: ?Sized>(all: &[&'a T], number: u8) -> &'a T {
    all[usize::from(number) % all.len()]
}
