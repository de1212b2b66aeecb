//! Credentials and hop-by-hop headers: none of the caller's is passed on or affects ours.

use super::{Case, Then, cancelled, judge, with};

#[test]
fn what_connection_names_does_not_touch_what_is_sent() {
    let mut cases = Vec::new();
    for name in OURS.iter().chain(THEIRS) {
        for (what, lines) in [
            ("Connection", vec![format!("Connection: {name}")]),
            ("Connection, lower case", vec![format!("connection: {}", name.to_ascii_lowercase())]),
            ("Connection among others", vec![format!("Connection: keep-alive, {name}, x")]),
            ("Connection, and is there", vec![format!("Connection: {name}"), format!("{name}: evil")]),
            ("a second Connection", vec!["Connection: keep-alive".to_owned(), format!("Connection: {name}")]),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            // Some have a meaning to us, and are not allowed either.
            if !(what.ends_with("is there") && NOT_HERE.contains(name)) {
                cases.push(Case::harmless(format!("{name} in {what}"), with(&lines)));
            }
        }
    }
    judge(124, cases);
}

#[test]
fn connection_close_closes_and_nothing_else_does() {
    let closes = |lines: &[&str]| Case::told(lines.join(", "), with(lines), vec![cancelled()], Then::Closed);
    judge(
        15,
        [
            closes(&["Connection: close"]),
            closes(&["Connection: Close"]),
            closes(&["connection: close"]),
            closes(&["Connection: keep-alive, close"]),
            closes(&["Connection: close, keep-alive"]),
            closes(&["Connection: keep-alive", "Connection: close"]),
            closes(&["Connection: close", "Connection: keep-alive"]),
            closes(&["Connection: close", "Connection: X-Sdk-Date"]),
            Case::harmless("keep-alive", with(&["Connection: keep-alive", "Keep-Alive: timeout=1, max=1"])),
            Case::harmless("Proxy-Connection", with(&["Proxy-Connection: close"])),
            Case::harmless("closed", with(&["Connection: closed"])),
            Case::harmless("no name", with(&["Connection:"])),
            Case::harmless("no name among commas", with(&["Connection: ,,,"])),
            Case::harmless("what is no name", with(&["Connection: \"close\", a b, (x)"])),
            Case::harmless("Connection_", with(&["Connection_: close"])),
        ],
    );
}

#[test]
fn a_header_of_ours_that_a_caller_sends_is_dropped_and_replaced() {
    let mut cases = Vec::new();
    for name in CREDENTIALS {
        let underscore = name.replace('-', "_");
        for (what, lines) in [
            ("once", vec![format!("{name}: evil")]),
            ("twice", vec![format!("{name}: evil"), format!("{name}: evil2")]),
            ("in lower case", vec![format!("{}: evil", name.to_ascii_lowercase())]),
            ("in upper case", vec![format!("{}: evil", name.to_ascii_uppercase())]),
            ("spelled with _", vec![format!("{underscore}: evil")]),
            ("in both spellings", vec![format!("{name}: evil"), format!("{underscore}: evil2")]),
            ("empty", vec![format!("{name}:")]),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            cases.push(Case::harmless(format!("{name} {what}"), with(&lines)));
        }
    }
    judge(168, cases);
}

#[test]
fn a_trace_context_that_is_none_is_dropped() {
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let long = format!("tracestate: a={}", "x".repeat(300));
    let mut cases = vec![
        Case::harmless("a state without its parent", with(&["tracestate: a=1"])),
        Case::harmless("two parents", with(&[parent, parent])),
        Case::harmless(
            "two parents, one in upper case",
            with(&[parent, &parent.replace("traceparent", "TraceParent")]),
        ),
        Case::harmless("a parent spelled with _", with(&[&parent.replace("traceparent", "trace_parent")])),
        Case::harmless(
            "other ways to trace",
            with(&["X-B3-TraceId: 1", "b3: 1", "uber-trace-id: 1", "X-Amzn-Trace-Id: 1", "baggage: a=evil"]),
        ),
        Case::harmless("a long state without its parent", with(&[&long])),
    ];
    for value in [
        "",
        "evil",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-evil",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
    ] {
        cases.push(Case::harmless(
            format!("parent `{value}`"),
            with(&[&format!("traceparent: {value}"), "tracestate: a=1"]),
        ));
    }
    judge(20, cases);
}

/// Headers we send that a careless proxy would drop because a caller's `Connection` names them.
const OURS: &[&str] = &[
    "Authorization",
    "X-Sdk-Date",
    "X-Project-Id",
    "X-Project_Id",
    "Host",
    "X-Auth-Token",
    "X-Security-Token",
    "Accept",
    "User-Agent",
];

const THEIRS: &[&str] = &[
    "Transfer-Encoding",
    "Content-Length",
    "Keep-Alive",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "X-A",
    "X-Forwarded-For",
    "Via",
    "Forwarded",
    "Date",
    "Cookie",
    "Content-Type",
    "Proxy-Status",
    "X-Request-Id",
];

/// Refused or accepted at any place.
const NOT_HERE: &[&str] = &["Host", "Transfer-Encoding", "Content-Length", "Trailer"];

const CREDENTIALS: &[&str] = &[
    "Authorization",
    "Proxy-Authorization",
    "X-Auth-Token",
    "X-Subject-Token",
    "X-Sdk-Date",
    "X-Sdk-Content-Sha256",
    "X-Security-Token",
    "X-Project-Id",
    "X-Domain-Id",
    "X-Enterprise-Project-Id",
    "X-Forwarded-For",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Real-Ip",
    "X-Client-Cert",
    "X-Remote-User",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Request-Id",
    "Proxy-Request-Id",
    "Proxy-Status",
    "X-Api-Key",
    "X-User-Id",
    "X-Caller",
];
