//! What if a policy is large? It takes memory and metrics by the rule and by the caller, never by both, and what a
//! reload ends is given back.

use std::fmt::Write;

use nix::sys::signal::Signal;

use crate::{
    harness::{Proxy, Setup, cancel, memory, wait_for},
    size,
};

/// How callers and rules are written, by number.
struct Shape {
    name: &'static str,
    rule: fn(usize) -> String,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "own", rule: |n| lists(&caller(n), "media-prod", &format!("job-{n}")) },
    Shape { name: "everybody", rule: |n| lists("*", "*", &format!("job-{n}-*")) },
    Shape { name: "classes", rule: |n| lists(&format!("*{:02}", n % 100), "media-*", &format!("*-{n}")) },
    Shape {
        name: "crossing",
        rule: |n| lists(&format!("*{}*{}*", n % 10, n / 10 % 10), "*-prod", &format!("job-*-{n}?")),
    },
];

#[test]
fn large_policies() {
    let (callers, rules) = (size("POLICY_CALLERS", 100), size("POLICY_RULES", 1000));
    let small = memory_of(&start(&policy(1, 1, &SHAPES[0])));
    for shape in &SHAPES {
        let proxy = start(&policy(callers, rules, shape));
        let more = memory_of(&proxy).saturating_sub(small);
        let metrics = proxy.probe("/metrics").body;
        println!(
            "large_policies: {}: {callers} callers, {rules} rules: {} more, {} KiB of metrics",
            shape.name,
            memory::mib(more),
            metrics.len() / 1024
        );
        assert!(more < 32 * 1024, "{}: {}", shape.name, memory::mib(more));
        assert!(metrics.len() < 20_000 + 200 * (rules + 6 * callers), "{} bytes", metrics.len());
        assert_eq!(proxy.send(cancel("none-1")).status, 403);
    }
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
        let lists = (shape.rule)(number).replace(&caller(number), &caller(number % callers));
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

/// What it has of its own.
fn memory_of(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "RssAnon").unwrap()
}
