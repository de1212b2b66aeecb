//! Large policies: memory and metrics grow with rules and with callers, never with their product, and a reload
//! frees the old ones.

use std::{fmt::Write, process::Stdio, time::Duration};

use nix::sys::{
    resource::{UsageWho, getrusage},
    signal::Signal,
    time::TimeValLike,
};

use crate::{
    harness::{Proxy, Setup, cancel, memory, wait_for},
    size,
};

/// The text of a rule by its number and its caller's.
struct Shape {
    name: &'static str,
    rule: fn(usize, usize) -> String,
}

const SHAPES: [Shape; 12] = [
    Shape { name: "own", rule: |n, c| lists(&caller(c), "media-prod", &format!("job-{n}")) },
    Shape { name: "everybody", rule: |n, _| lists("*", "*", &format!("job-{n}-*")) },
    Shape { name: "classes", rule: |n, _| lists(&format!("*{:02}", n % 100), "media-*", &format!("*-{n}")) },
    Shape {
        name: "crossing",
        rule: |n, _| lists(&format!("*{}*{}*", n % 10, n / 10 % 10), "*-prod", &format!("job-*-{n}?")),
    },
    Shape {
        name: "overlapping",
        rule: |n, _| {
            let callers: Vec<String> = (0..8).map(|k| caller((n * 7 + k * 13) % 100)).collect();
            lists(&callers.join("', '"), "media-prod", &format!("job-{n}-*', 'tmp-{n}-*', '*-{n}"))
        },
    },
    Shape {
        name: "conditions",
        rule: |n, c| {
            let ranges = format!("[10.{}.{}.0/24, 192.168.{0}.0/24]", n / 256, n % 256);
            let own = lists(&caller(c), "media-prod", "*");
            format!("{own}, condition: {{ IpAddress: {{ g:SourceIp: {ranges} }} }}")
        },
    },
    Shape {
        name: "one pattern",
        rule: |n, _| {
            let all = lists("*", "*", "*");
            format!("{all}, condition: {{ StringEquals: {{ mpc:JobId: [job-{n}] }} }}, expires: 2999-12-31")
        },
    },
    Shape { name: "patterns", rule: |n, c| lists(&format!("*{c:03}*"), "*e*-p*", &format!("*{n}*a?b*")) },
    Shape {
        name: "distinct",
        rule: |n, c| {
            let callers = format!("*{c:03}', '*0{c:04}");
            lists(&callers, "media-prod", &format!("j{}*{n}*{}", "x".repeat(n % 16), "y".repeat(n % 7)))
        },
    },
    Shape { name: "alike", rule: |n, _| lists("*", "*", &format!("job-*-common-*{n}*-end")) },
    Shape {
        name: "digits",
        rule: |n, _| {
            let digit = |power| n / 10_usize.pow(power) % 10;
            lists("*", "*", &format!("*{}*{}*{}*{}*", digit(3), digit(2), digit(1), digit(0)))
        },
    },
    Shape { name: "never", rule: |_, _| lists("*", "media-prod", "*") },
];

#[test]
fn large_policies() {
    let (callers, rules) = (size("POLICY_CALLERS", 100), size("POLICY_RULES", 1000));
    let small = memory_of(&start(&policy(1, 1, &SHAPES[0])));
    for shape in &SHAPES {
        let setup = Setup::new().policy(&policy(callers, rules, shape));
        let checked = check(&setup);
        let proxy = setup.start();
        let more = memory_of(&proxy).saturating_sub(small);
        let metrics = proxy.probe("/metrics").body;
        println!(
            "large_policies: {}: {callers} callers, {rules} rules: {} more, {} at the most, {} KiB of metrics; \
             `check`: {checked:?} of CPU",
            shape.name,
            memory::mib(more),
            memory::mib(memory::of(proxy.id(), "VmHWM").unwrap()),
            metrics.len() / 1024
        );
        // Eleven patterns in each rule.
        let most = if shape.name == "overlapping" { 36 } else { 32 };
        assert!(more < most * 1024, "{}: {}", shape.name, memory::mib(more));
        assert!(metrics.len() < 20_000 + 200 * (rules + 6 * callers), "{} bytes", metrics.len());
        assert_eq!(proxy.send(cancel("none")).status, 403);
    }
}

/// Reloads repeatedly, as each may fragment memory. The harness asserts the maximum.
#[test]
fn reloads_of_a_large_policy() {
    let reloads = size("POLICY_RELOADS", 4);
    let text = policy(size("POLICY_CALLERS", 100), size("POLICY_RULES", 1000), &SHAPES[0]);
    let proxy = start(&text);
    let mut seen = vec![memory_of(&proxy)];
    for number in 1..=reloads {
        proxy.write("policy.yaml", &text.replace("rule-1,", &format!("g{number},")));
        proxy.signal(Signal::SIGHUP);
        let named = format!("rule=\"g{number}\"");
        wait_for(&named, || proxy.probe("/metrics").body.contains(&named).then_some(()));
        seen.push(memory_of(&proxy));
    }
    let most = memory::of(proxy.id(), "VmHWM").unwrap();
    let seen: Vec<String> = seen.into_iter().map(memory::mib).collect();
    println!("reloads_of_a_large_policy: {}; {} at the most", seen.join(", "), memory::mib(most));
}

/// The CPU time of `check`.
fn check(setup: &Setup) -> Duration {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
        Duration::from_micros(microseconds.try_into().unwrap())
    };
    let before = used();
    let status = setup.command("check").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");
    used() - before
}

#[test]
fn reloads_of_other_rules() {
    let reloads = size("POLICY_RELOADS", 6);
    let rules = size("POLICY_RULES", 300);
    let generation = |number: usize| policy(10, rules, &SHAPES[0]).replace("rule-", &format!("g{number}-"));
    let proxy = start(&generation(0));
    let mut after_two = None;
    for number in 1..=reloads {
        proxy.write("policy.yaml", &generation(number));
        proxy.signal(Signal::SIGHUP);
        let named = format!("rule=\"g{number}-1\"");
        let metrics =
            wait_for(&named, || Some(proxy.probe("/metrics").body).filter(|text| text.contains(&named)));
        let old = format!("rule=\"g{}-", number - 1);
        assert!(!metrics.contains(&old), "{old} in {metrics}");
        assert_eq!(metrics.matches("decisions_total{").count(), rules + 1);
        if number == 2 {
            after_two = Some(memory_of(&proxy));
        }
    }
    let more = memory_of(&proxy).saturating_sub(after_two.unwrap());
    println!("reloads_of_other_rules: {} more after {reloads}", memory::mib(more));
    assert!(more < 8 * 1024, "{}", memory::mib(more));
}

fn start(policy: &str) -> Proxy {
    Setup::new().project("").policy(policy).start()
}

fn policy(callers: usize, rules: usize, shape: &Shape) -> String {
    let mut text = "version: 1\ncallers:\n  editor-api: { identify: [ { listener: app } ] }\n".to_owned();
    for number in 0..callers {
        writeln!(text, "  {}: {{ identify: [ {{ unix: {{ uid: {} }} }} ] }}", caller(number), 5000 + number)
            .unwrap();
    }
    text.push_str("rules:\n");
    for number in 0..rules {
        let lists = (shape.rule)(number, number % callers);
        writeln!(text, "  - {{ id: rule-{number}, effect: allow, actions: ['mpc:*'], {lists} }}").unwrap();
    }
    text
}

fn caller(number: usize) -> String {
    format!("s-{number:05}")
}

fn lists(caller: &str, project: &str, job: &str) -> String {
    format!("callers: ['{caller}'], projects: ['{project}'], jobs: ['{job}']")
}

/// Its private memory.
fn memory_of(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "RssAnon").unwrap()
}
