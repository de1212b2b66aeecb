//! Instructions executed by each operation: runs one operation a number of times for `instructions.py`, which has callgrind
//! count what happens inside of `measured`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at its first mistake, as a test does"
)]

use std::hint::black_box;

use bytes::BytesMut;
use mpc_auth_proxy::clock;
use mpc_auth_proxy::config::Limits;
use mpc_auth_proxy::identity::CallerId;
use mpc_auth_proxy::policy::{
    Call, Condition, Effect, Facts, Glob, Key, Location, Mode, Operator, Policy, Rule, Scope, Test,
    parse_moment,
};
use mpc_auth_proxy::secret::Secret;
use mpc_auth_proxy::server::Recogniser;
use mpc_auth_proxy::signing::{SigningKey, Timestamp, Unsigned, sign};

const ACTION: &str = "mpc:editingTask:delete";
/// The number of the caller.
const ASKED: usize = 3;
const PROJECT: &str = "0123456789abcdef0123456789abcdef";

fn main() {
    // Cargo adds one of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match words.as_slice() {
        ["head", times] => head(number(times)),
        ["sign", times] => signature(number(times)),
        ["decide", shape, rules, callers, times] => {
            decide(shape, (number(rules), number(callers)), number(times));
        }
        // As `cargo bench` runs it.
        [] => {}
        other => panic!("no operation {other:?}"),
    }
}

/// The function that callgrind looks for.
#[inline(never)]
fn measured(times: usize, mut operation: impl FnMut()) {
    for _ in 0..times {
        operation();
    }
}

/// Recognises consecutive heads.
fn head(times: usize) {
    let mut bytes = BytesMut::new();
    for _ in 0..times {
        bytes.extend_from_slice(HEAD);
    }
    let mut recogniser = Recogniser::new(&Limits::default());
    measured(times, || {
        let head = recogniser.take(&mut bytes).ok().flatten().expect("a head");
        assert!(!black_box(head).is_last);
    });
}

/// Signs a cancel call with a permanent key.
fn signature(times: usize) {
    let key = SigningKey::new(
        "AKEXAMPLE00000000001",
        &Secret::new("SkExampleKeyForBenchmarksOnly00000000001"),
        None,
    );
    let key = key.expect("a key");
    let at = Timestamp::from(clock::now());
    let headers: &[(&str, &[u8])] = &[
        ("host", b"mpc.cn-north-4.myhuaweicloud.com"),
        ("x-project-id", PROJECT.as_bytes()),
        ("x-project_id", PROJECT.as_bytes()),
    ];
    let call = Unsigned {
        method: "DELETE",
        path: "/v2/0123456789abcdef0123456789abcdef/editing/jobs/00112233445566778899aabbccddeeff",
        query: "",
        headers,
        body: b"",
    };
    measured(times, || drop(black_box(sign(black_box(&call), &key, at))));
}

/// Decides a call of the fourth of a thousand callers, which the last of its ten rules allows: among so many rules for so
/// many callers, or by its own alone.
fn decide(shape: &str, (rules, callers): (usize, usize), times: usize) {
    let all = 0..callers.max(1000);
    let numbers = (0..rules).map(|n| if callers == 1 { n * all.len() + ASKED } else { n });
    let written: Vec<Rule> = numbers.map(|n| rule(shape, n, n % all.len())).collect();
    let there = all.clone().filter(|n| callers > 1 || *n == ASKED);
    let ids: Vec<CallerId> = there.map(|n| CallerId::parse(&caller(n)).expect("a name")).collect();
    let project = |name: &str, id: &str| Scope { name: name.into(), id: id.into() };
    let projects = [project("media-prod", PROJECT), project("media-test", "1111")];
    let policy = Policy::new(written, &ids, &projects, "0123abcd");
    let last = 9 * all.len() + ASKED;
    let job = if shape == "lengths" { format!("{last}-100211") } else { format!("job-{last:05}-100211") };
    let caller = CallerId::parse(&caller(ASKED)).expect("a name");
    let call = Call {
        caller: &caller,
        action: ACTION,
        project: "media-prod",
        job: Some(&job),
        facts: Facts::none_known(),
        at: parse_moment("2027-01-31T12:00:00Z").expect("a moment"),
        source_ip: Some([10, 2, 3, 4].into()),
        listener: Some("app"),
        identified_by: Some("listener"),
    };
    measured(times, || assert_eq!(policy.decide(black_box(&call)).applied(), Some(Effect::Allow)));
}

/// A rule by its number and that of its caller.
fn rule(shape: &str, number: usize, of: usize) -> Rule {
    let (callers, projects, jobs) = match shape {
        // Names, and patterns of jobs.
        "own" => (caller(of), "media-prod", format!("job-{number:05}-*")),
        // The same, with job prefixes of several lengths.
        "lengths" => (caller(of), "media-prod", format!("{number}-*")),
        // Patterns in all lists: a team's services, projects of a kind, jobs by suffix.
        "patterns" => (format!("team-{of:04}-*"), "media-*", format!("job-{number:05}-*1")),
        // Overlapping patterns of callers: those of every hundredth team.
        "crossing" => (format!("*{:02}-api", of % 100), "*-prod", format!("job-{number:05}-*")),
        // Rules for every caller.
        "everybody" => ("*".into(), "*", format!("job-{number:05}-*")),
        // The same pattern in all rules, each with a condition that does not hold, except the last.
        "conditions" => ("*".into(), "*", "*".into()),
        // Job patterns that share all their texts.
        "digits" => {
            let digit = |power| number / 10_usize.pow(power) % 10;
            ("*".into(), "*", format!("*{}*{}*{}*{}*", digit(3), digit(2), digit(1), digit(0)))
        }
        other => panic!("no shape {other}"),
    };
    let glob = |text: &str| vec![Glob::parse(text).expect("a pattern")];
    Rule {
        id: format!("rule-{number}"),
        effect: Effect::Allow,
        callers: glob(&callers),
        actions: glob(ACTION),
        projects: glob(projects),
        jobs: glob(&jobs),
        condition: if shape == "conditions" { only(number) } else { Condition::default() },
        expires: None,
        mode: Mode::Enforce,
        location: Location { file: "policy.yaml".into(), line: 1 },
        reason: None,
    }
}

/// Holds for the job of the rule with this number.
fn only(number: usize) -> Condition {
    let operator = Operator::parse("StringMatch").expect("an operator");
    let job = format!("job-{number:05}-*");
    Condition::new(vec![Test::new(operator, Key::JobId, &[&job]).expect("a test")])
}

fn caller(number: usize) -> String {
    format!("team-{number:04}-api")
}

/// As an HTTP client sends it.
const HEAD: &[u8] = b"DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\n\
    User-Agent: editor-api/1.0\r\n\
    Accept: */*\r\n\
    Authorization: Bearer 6f1d2c3b4a596f1d2c3b4a596f1d2c3b\r\n\r\n";
