//! Arrival of bodies: whether to read one is decided before it is read, its pieces make no difference, and an unread
//! rest is never taken for a request.

use std::{
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustls::version::TLS13;
use serde_json::json;

use super::{ALL, body, create, create_with, creates, made, nothing_is_created, with_rules};
use crate::harness::{
    Authority, Client, PROJECT, Proxy, Queues, Setup, TOKEN, Wire, cancel, request, wait_for,
};

const TARGET: &str = "/v1/media-prod/editing/jobs";
const JSON: &str = "Content-Type: application/json";

/// A connection, and how much of what was sent on it is read.
fn dial(proxy: &Proxy) -> (Wire, Queues) {
    let stream = TcpStream::connect(proxy.address("app")).unwrap();
    stream.set_nodelay(true).unwrap();
    let queues = Queues::of(&stream);
    (Wire::new(stream), queues)
}

#[test]
fn what_would_be_refused_anyway_is_refused_before_its_body_is_read() {
    let proxy = with_rules(&[ALL]).with_team().start();
    let right = format!("Authorization: Bearer {TOKEN}");
    let owned = [("app", TARGET, &*format!("{JSON}|Content-Length: 9|{right}"), "401 token_not_taken")];
    for (listener, target, headers, told) in REFUSED.iter().chain(&owned) {
        let mut wire = proxy.connect_to(listener);
        let headers: Vec<&str> = headers.split('|').collect();
        // It waits for none of them.
        let answer = wire.ask(request("POST", target, &headers));
        let record = proxy.record(&answer);
        let found = format!("{} {}", answer.status, record.text("error.reason"));
        assert_eq!((&*found, answer.is_last()), (*told, true), "{headers:?}");
        answer.is_refusal(answer.status, record.text("error.type"));
        record.says(json!({ "upstream.attempts": 0, "outcome": "refused" }));
        if [411, 413, 415].contains(&answer.status) {
            record.says(json!({
                "caller.id": "editor-api", "mpc.action": "mpc:editingTask:create", "http.request.method": "POST",
                "http.route": "/v1/{project_id}/editing/jobs", "mpc.project_id": PROJECT,
            }));
        }
        // What follows is none.
        wire.write(cancel("100211"));
        wire.closed();
    }
    proxy.upstream_saw(0);
}

/// The listener, the target and headers, and the expected refusal.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("app", TARGET, "Content-Type: application/json", "411 length_required"),
    ("app", TARGET, "Content-Type: application/json|Content-Length: 262145", "413 body_too_large"),
    ("app", TARGET, "Content-Length: 9", "415 media_type"),
    ("app", TARGET, "Content-Type: text/json|Content-Length: 9", "415 media_type"),
    ("app", TARGET, "Content-Type: application/json; charset=latin1|Content-Length: 9", "415 media_type"),
    (
        "app",
        TARGET,
        "Content-Type: application/json|Content-Type: application/json|Content-Length: 9",
        "415 media_type",
    ),
    ("app", TARGET, "Content-Type: application/json|content_type: x|Content-Length: 9", "415 media_type"),
    ("app", TARGET, "Content-Length: 9|Content-Length: 9", "400 several_lengths"),
    ("app", TARGET, "Content-Length: 9|Content_Length: 9", "400 several_lengths"),
    ("app", TARGET, "Content_Length: 9", "400 bad_length"),
    ("app", TARGET, "Content-Length: 09", "400 bad_length"),
    ("app", TARGET, "Content-Length: 10000000", "400 bad_length"),
    ("app", TARGET, "Content-Length: 9|Transfer-Encoding: chunked", "400 transfer_encoding"),
    ("app", TARGET, "Transfer-Encoding: chunked", "400 transfer_encoding"),
    ("app", TARGET, "Content-Length: 9|Content-Encoding: gzip", "400 content_encoding"),
    ("app", TARGET, "Content-Length: 9|Expect: 200-ok", "400 expect"),
    ("app", TARGET, "Content-Length: 9|Origin: null", "403 browser"),
    ("app", TARGET, "Content-Length: 9|Host: evil.example", "421 wrong_host"),
    ("app", "/v1/elsewhere/editing/jobs", "Content-Length: 9", "403 unknown_project"),
    ("app", "/v1/media-prod/editing/jobs?x=1", "Content-Length: 9", "400 query_on_create"),
    ("app", "/v3/media-prod/editing/jobs", "Content-Length: 9", "404 unknown_path"),
    ("app", "/v2/media-prod/editing/jobs/7", "Content-Length: 9", "405 wrong_method"),
    ("team", TARGET, "Content-Length: 9", "401 no_proof"),
    ("team", TARGET, "Content-Length: 9|Authorization: Bearer nobody-0123456789", "401 unknown_token"),
];

#[test]
fn what_is_left_of_a_body_is_no_request() {
    let proxy = with_rules(&[&ALL.replacen("allow", "deny", 1)]).start();
    let smuggled = cancel("100211");
    // Read to its end and denied: the next head is read.
    for (text, answers) in [
        (format!("{}{}", create(&body("x", "1")), cancel("none")), 2),
        // Unread: nothing more is read.
        (format!("{}{smuggled}{smuggled}", request("POST", TARGET, &["Content-Length: 4"])), 1),
        (format!("{}{smuggled}", request("POST", TARGET, &[JSON])), 1),
        // An unexpected body.
        (
            format!(
                "{}{smuggled}",
                request("DELETE", "/v2/media-prod/editing/jobs/1", &["Content-Length: 4"])
            ),
            1,
        ),
        (
            format!(
                "{}{smuggled}",
                request("GET", TARGET, &[&format!("Content-Length: {}", smuggled.len())])
            ),
            1,
        ),
        // A body that looks like requests is still a body.
        (format!("{}{}", create(&smuggled), cancel("none")), 1),
    ] {
        proxy.expect_records(answers);
        let mut wire = proxy.dial("app");
        wire.write(&text);
        for _ in 0..answers {
            let answer = wire.answer();
            assert!([400, 403, 411, 415].contains(&answer.status), "{answer:#?}");
        }
        wire.half_close();
        wire.closed();
    }
    proxy.upstream_saw(0);
}

#[test]
fn a_body_that_is_cut_anywhere_is_one_body() {
    let proxy = with_rules(&[ALL]).start();
    let (first, second) = (create(r#"{"user_data":"editor-api/1"}"#), cancel("none"));
    let both = format!("{first}{second}");
    for at in (1..both.len()).step_by(3) {
        proxy.expect_records(2);
        let (mut wire, queues) = dial(&proxy);
        wire.write(&both[..at]);
        queues.all_is_read();
        wire.write(&both[at..]);
        made(&wire.answer());
        assert_eq!(wire.answer().status, 403, "{at}");
    }
    assert_eq!(creates(&proxy).len(), (1..both.len()).step_by(3).count());
}

#[test]
fn bodies_follow_each_other_on_one_connection_and_large_ones_come_whole() {
    let proxy = with_rules(&[ALL]).start();
    let large = body("x", &"é".repeat(60_000));
    let bodies = [body("x", "1"), "{}".to_owned(), large, body("x", "2")];
    let mut text: String = bodies.iter().map(|body| create(body)).collect();
    text.push_str(&cancel("100211"));
    proxy.expect_records(5);
    let mut wire = proxy.dial("app");
    wire.write(&text);
    for _ in &bodies {
        made(&wire.answer());
    }
    assert_eq!(wire.answer().status, 204);
    let words: Vec<_> = creates(&proxy).iter().map(|seen| super::sent(seen)["user_data"].clone()).collect();
    assert_eq!(words, [json!("1"), json!(null), json!("é".repeat(60_000)), json!("2")]);
}

#[test]
fn a_body_that_does_not_come_is_refused_and_recorded() {
    let proxy = with_rules(&[ALL]).section("limits: { header_timeout: 100ms }").start();
    let head = request("POST", TARGET, &[JSON, "Content-Length: 100"]);
    for (sent, closes) in
        [(format!("{head}{{"), false), (head.clone(), false), (format!("{head}{{\"a\":"), true)]
    {
        let mut wire = proxy.sending(&sent);
        if closes {
            wire.half_close();
        }
        let answer = wire.answer();
        let (status, code, reason) = match closes {
            true => (400, "PROXY.BadRequest", "body_cut"),
            false => (408, "PROXY.RequestTimeout", "body_timeout"),
        };
        answer.is_refusal(status, code);
        assert!(answer.is_last());
        proxy.record(&answer).says(json!({
            "error.reason": reason, "caller.id": "editor-api", "mpc.action": "mpc:editingTask:create",
            "upstream.attempts": 0, "outcome": "refused",
        }));
        wire.closed();
    }
    // One that hung up has its record too.
    let stream = TcpStream::connect(proxy.address("app")).unwrap();
    proxy.expect_records(1);
    let mut wire = Wire::new(stream.try_clone().unwrap());
    wire.write(&head);
    stream.shutdown(Shutdown::Both).unwrap();
    wait_for("its record", || (proxy.records().len() == 4).then_some(()));
    let metrics = proxy.probe("/metrics").body;
    assert!(metrics.contains("mpc_auth_proxy_connections_cut_total{reason=\"body\"} 2"), "{metrics}");
    nothing_is_created(&proxy);
}

#[test]
fn a_large_body_has_more_time_than_a_head() {
    let proxy = with_rules(&[ALL]).section("limits: { header_timeout: 10ms }").start();
    let text = create(&body("x", &"a".repeat(128 << 10)));
    let (head, rest) = text.split_at(text.len() - 10);
    let (mut wire, queues) = dial(&proxy);
    proxy.expect_records(1);
    let began = Instant::now();
    wire.write(head);
    queues.all_is_read();
    // Two seconds more.
    while began.elapsed() < Duration::from_millis(600) {
        std::thread::yield_now();
    }
    wire.write(rest);
    made(&wire.answer());
}

#[test]
fn who_waits_to_be_told_is_told_when_the_body_is_about_to_be_read() {
    let proxy = with_rules(&[ALL]).start();
    let body = body("x", "1");
    let length = format!("Content-Length: {}", body.len());
    let headers = [JSON, &*length, "Expect: 100-continue"];
    proxy.expect_records(2);
    let mut wire = proxy.dial("app");
    wire.write(request("POST", TARGET, &headers));
    let told = wire.head();
    assert_eq!((told.status, told.headers.len()), (100, 0));
    wire.write(&body);
    made(&wire.answer());
    // Without waiting for it, a caller gets no 100.
    wire.write(create_with(TARGET, &["Expect: 100-continue"], &body));
    made(&wire.answer());
    // HTTP/1.0 gets no 100, nor does a caller whose body is not wanted.
    let old = request("POST", TARGET, &headers).replace("HTTP/1.1", "HTTP/1.0");
    let (mut wire, queues) = dial(&proxy);
    proxy.expect_records(1);
    wire.write(old);
    queues.all_is_read();
    let answer = wire.ask(&body);
    made(&answer);
    assert!(answer.is_last());
    for headers in
        [vec![&*length, "Expect: 100-continue"], vec![JSON, "Content-Length: 999999", "Expect: 100-continue"]]
    {
        let answer = proxy.send(request("POST", TARGET, &headers));
        assert!([413, 415].contains(&answer.status), "{answer:#?}");
    }
    assert_eq!(creates(&proxy).len(), 3);
}

#[test]
fn bodies_that_arrive_hold_no_place_and_no_more_room_than_there_is() {
    let proxy = with_rules(&[ALL])
        .section("limits: { in_flight: 1, buffer_bytes: 2MiB, header_timeout: 1h }")
        .start();
    let body = body("x", &"a".repeat(200 << 10));
    let text = create(&body);
    let most = &text[..text.len() - 1];
    let half = |_| {
        proxy.expect_records(1);
        let mut wire = proxy.dial("app");
        wire.write(most);
        wire
    };
    let few: Vec<Wire> = (0..3).map(half).collect();
    proxy.queue("100211");
    assert_eq!(proxy.send(cancel("100211")).status, 204, "nobody holds its place");
    // More than fit: some are refused.
    let many: Vec<Wire> = (0..16).map(half).collect();
    wait_for("refusal", || {
        let records = proxy.records();
        records.iter().any(|record| record["error.type"] == "PROXY.Overloaded").then_some(())
    });
    drop((few, many));
    wait_for("room", || {
        proxy.queue("100211");
        (proxy.send(cancel("100211")).status == 204).then_some(())
    });
}

#[test]
fn a_large_body_comes_over_tls_too() {
    let authority = Authority::new();
    let (proxy, host) = (Setup::new().mesh(&authority).start(), authority.host());
    let client = Client { trusts: &authority, shows: Some(&host), version: &TLS13 };
    let text = create(&body("x", &"é".repeat(60_000)));
    proxy.expect_records(2);
    let mut wire = client.ask(&proxy, "mesh", format!("{text}{}", cancel("100211"))).unwrap();
    made(&wire.answer());
    assert_eq!(wire.answer().status, 204);
    assert_eq!(super::sent(&creates(&proxy)[0])["user_data"], "é".repeat(60_000));
}
