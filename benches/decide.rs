//! Cost of a decision, and whether it depends on the number of rules.
//!
//! Each shape of policy is measured with 10 and with 10,000 rules; the two should not differ. Callers, projects
//! and the call stay the same.

#![expect(clippy::expect_used, reason = "a benchmark stops at its first mistake, as a test does")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mpc_auth_proxy::identity::CallerId;
use mpc_auth_proxy::policy::{
    Call, Condition, Effect, Facts, Glob, Key, Location, Mode, Operator, Policy, Rule, Scope, Test,
    parse_moment,
};

const ACTION: &str = "mpc:editingTask:delete";
const CALLERS: u64 = 20;
const PROJECTS: u64 = 5;

/// A name, and the rule for each number.
type Shape = (&'static str, fn(u64) -> Rule);

const SHAPES: &[Shape] = &[
    ("job ids", |i| rule(i, &caller(i), &project(i), &format!("job-{i}"))),
    ("job prefixes", |i| rule(i, &caller(i), &project(i), &format!("job-{i:05}-*"))),
    ("everybody", |i| rule(i, "*", "*", &format!("job-{i}"))),
    ("all jobs", |i| rule(i, &caller(i), &project(i), "*")),
    ("conditions", |i| Rule {
        condition: from_far(),
        ..rule(i, &caller(i), &project(i), &format!("job-{i:05}-*"))
    }),
    ("denials", |i| Rule { effect: Effect::Deny, ..rule(i, "*", &project(i), &format!("keep-{i}")) }),
];

fn decide(criterion: &mut Criterion) {
    let caller = CallerId::parse(&caller(3)).expect("a name");
    let project = project(3);
    let call = Call {
        caller: &caller,
        action: ACTION,
        project: &project,
        job: Some("job-00003-100211"),
        facts: Facts::none_known(),
        at: parse_moment("2027-01-31T12:00:00Z").expect("a moment"),
        source_ip: Some([10, 2, 3, 4].into()),
        listener: Some("app"),
        identified_by: Some("listener"),
    };
    for (shape, rule) in SHAPES {
        let mut group = criterion.benchmark_group(*shape);
        for count in [10, 10_000] {
            let policy = policy((0..count).map(rule).collect());
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| policy.decide(black_box(&call)));
            });
        }
        group.finish();
    }
}

/// The rules, followed by one for the call.
fn policy(mut rules: Vec<Rule>) -> Policy {
    rules.push(rule(u64::MAX, &caller(3), &project(3), "job-*"));
    let callers: Vec<CallerId> = (0..CALLERS).map(|i| CallerId::parse(&caller(i)).expect("a name")).collect();
    let scope = |i| Scope { name: project(i).into(), id: format!("{i:032x}").into() };
    Policy::new(rules, &callers, &(0..PROJECTS).map(scope).collect::<Vec<_>>(), "0123abcd")
}

fn rule(number: u64, caller: &str, project: &str, job: &str) -> Rule {
    let glob = |text: &str| vec![Glob::parse(text).expect("a pattern")];
    Rule {
        id: format!("rule-{number}"),
        effect: Effect::Allow,
        callers: glob(caller),
        actions: glob(ACTION),
        projects: glob(project),
        jobs: glob(job),
        condition: Condition::default(),
        expires: None,
        mode: Mode::Enforce,
        location: Location { file: "policy.yaml".into(), line: number },
        reason: None,
    }
}

/// A condition that does not hold.
fn from_far() -> Condition {
    let operator = Operator::parse("IpAddress").expect("an operator");
    Condition::new(vec![Test::new(operator, Key::SourceIp, &["192.168.0.0/16"]).expect("a test")])
}

fn caller(number: u64) -> String {
    format!("service-{}", number % CALLERS)
}

fn project(number: u64) -> String {
    format!("project-{}", number % PROJECTS)
}

criterion_group!(benches, decide);
criterion_main!(benches);
