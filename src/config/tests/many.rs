//! Many mistakes: the cost of each does not depend on the number of mistakes and names.

use super::super::names::did_you_mean;
use super::super::redact::Lines;
use super::super::source_file::SourceFile;
use super::*;
use std::fmt::Write;
use std::time::Duration;

/// The CPU time of this thread for this, the best of three.
fn worked(mut work: impl FnMut()) -> Duration {
    let so_far = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let once = |_| {
        let before = so_far();
        work();
        so_far() - before
    };
    (0..3).map(once).min().unwrap()
}

/// Ten times the input takes ten times as long; a quadratic cost would be a hundred times.
fn assert_in_proportion(mut work: impl FnMut(usize)) {
    let [few, many] = [500, 5_000].map(|count| worked(|| work(count)));
    assert!(many < few * 40, "{few:?}, and for ten times as many {many:?}");
}

fn policy(callers: usize, rules: usize, caller: fn(usize) -> String) -> String {
    let mut text = "version: 1\ncallers:\n".to_owned();
    for number in 0..callers {
        writeln!(text, "  s-{number}: {{ identify: [ {{ unix: {{ uid: {number} }} }} ] }}").unwrap();
    }
    text.push_str("rules:\n");
    for number in 0..rules {
        let caller = caller(number);
        writeln!(
            text,
            "  - {{ id: r{number}, effect: allow, actions: [\"*\"], callers: [\"{caller}\"], projects: [\"*\"], jobs: [\"*\"] }}"
        )
        .unwrap();
    }
    text
}

/// The report on a policy, as shown to users.
fn report(directory: &Directory, policy: &str) -> String {
    directory.write("policy.yaml", policy);
    directory.report()
}

#[test]
fn a_report_of_many_problems_looks_through_the_text_once() {
    let texts = [500, 5_000].map(|count| (count, policy(1, count, |_| "*".into())));
    assert_in_proportion(|count| {
        let (_, text) = texts.iter().find(|(of, _)| *of == count).unwrap();
        let lines = Lines::of(text);
        assert!((1..=u32::try_from(count).unwrap()).all(|number| !lines.covered(number).is_empty()));
    });
    // All of it in one line.
    let texts = texts.map(|(count, text)| (count, text.replace('\n', " ")));
    assert_in_proportion(|count| {
        let (_, text) = texts.iter().find(|(of, _)| *of == count).unwrap();
        let lines = Lines::of(text);
        assert!((0..count).all(|_| lines.covered(1).first() == Some(&'v')));
    });
}

#[test]
fn every_one_of_many_problems_is_told_with_its_line() {
    let directory = Directory::valid();
    let told = report(&directory, &policy(300, 300, |number| format!("x-{number}")));
    assert_eq!(told.matches(": error: unknown caller `x-").count(), 300);
    assert_eq!(told.matches(", effect: allow, actions: [").count(), 300);
    assert!(told.contains("did you mean `s-") && told.contains(" and 280 more"), "{told}");
}

#[test]
fn of_many_warnings_of_a_kind_the_first_are_told_and_the_rest_counted() {
    let directory = Directory::valid();
    let told = report(&directory, &policy(1, 600, |_| "s-0".into()));
    assert_eq!(told.matches("` has no effect: ").count(), 500);
    assert!(told.contains("warning: rules from here on also have no effect: 99 more warnings"), "{told}");
}

#[test]
fn names_are_compared_with_the_first_of_many_mistakes() {
    let directory = Directory::valid();
    directory.write("policy.yaml", &policy(2_000, 1, |_| "*".into()));
    let source = SourceFile::open(&directory.path("policy.yaml"));
    let names: Vec<String> = (0..2_000).map(|number| format!("s-{number:04}")).collect();
    let hints: Vec<String> = (0..100)
        .map(|number| did_you_mean(&source, &format!("x-{number:04}"), names.iter().map(String::as_str)))
        .collect();
    let guessed = hints.iter().filter(|hint| hint.starts_with("did you mean")).count();
    // Each is compared with all names, until 50,000 comparisons were made.
    assert!((20..=26).contains(&guessed), "{guessed}");
    assert!(hints.last().unwrap().ends_with(" and 1980 more"));
}
