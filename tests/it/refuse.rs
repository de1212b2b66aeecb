//! What is never even looked at? Requests that two servers could read differently, byte by byte.

use std::collections::BTreeMap;

use mpc_auth_proxy::testserver::Fault;
use serde_json::json;

use crate::harness::{Answer, Proxy, Setup, TOKEN};

#[test]
fn whatever_is_not_exactly_a_cancel_request_is_refused_and_nothing_is_sent() {
    let proxy = Setup::new().start();
    let mut names = BTreeMap::new();
    for (what, bytes, status, code) in cases() {
        assert_eq!(names.insert(what, ()), None, "two cases are named {what}");
        let answer = proxy.send(&bytes);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        is_refused(&proxy, &answer, status, code);
        proxy.upstream_saw(0);
    }
    assert!(names.len() >= 60, "{}", names.len());
    // It was not the harness: the same with nothing wrong goes through.
    let answer = proxy.send(head(LINE, &[HOST]));
    assert_eq!(answer.status, 204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    proxy.upstream_saw(1);
}

#[test]
fn a_method_that_is_not_the_operations_is_told_the_one_that_is() {
    let proxy = Setup::new().start();
    for method in ["GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "delete", "PURGE"] {
        let line = LINE.replacen("DELETE", method, 1);
        let mut wire = proxy.connect();
        wire.write(head(&line, &[HOST, "Connection: close"]));
        let answer = if method == "HEAD" { wire.head() } else { wire.answer() };
        assert_eq!((answer.status, answer.header("allow")), (405, "DELETE"), "{method}");
        let recorded = if ["delete", "PURGE"].contains(&method) { "_OTHER" } else { method };
        proxy.record(&answer).says(json!({
            "http.request.method": recorded, "error.type": "PROXY.MethodNotAllowed", "outcome": "refused",
        }));
    }
    proxy.upstream_saw(0);
}

#[test]
fn a_host_is_answered_in_any_case_and_with_any_port() {
    let proxy = Setup::new().start();
    for host in ["localhost", "LocalHost", "localhost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80"]
    {
        proxy.queue("100211");
        let answer = proxy.send(head(LINE, &[&format!("Host: {host}")]));
        assert_eq!(answer.status, 204, "{host}");
        proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    }
    proxy.upstream_saw(7);
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_answered_and_recorded() {
    let proxy = Setup::new().section("limits: { header_timeout: 200ms }").start();
    let whole = head(LINE, &[HOST]);
    for length in [1, LINE.len(), whole.len() - 2, whole.len() - 1] {
        let mut wire = proxy.connect();
        wire.write(&whole[..length]);
        let answer = wire.answer();
        is_refused(&proxy, &answer, 408, "PROXY.RequestTimeout");
        wire.closed();
    }
    proxy.upstream_saw(0);
}

#[test]
fn half_a_head_behind_a_whole_request_is_timed_out_too() {
    let proxy = Setup::new()
        .section("limits: { header_timeout: 200ms, idle_timeout: 1h, request_deadline: 1h }")
        .start();
    let whole = head(LINE, &[HOST]);
    proxy.expect_records(2);
    let mut wire = proxy.dial("app");
    wire.write(format!("{whole}{}", &whole[..LINE.len()]));
    assert_eq!(wire.answer().status, 204);
    is_refused(&proxy, &wire.answer(), 408, "PROXY.RequestTimeout");
    wire.closed();
    proxy.upstream_saw(1);
}

#[test]
fn a_connection_without_a_request_is_closed_before_a_first_one_and_after_it() {
    let proxy = Setup::new()
        .section("limits: { idle_timeout: 200ms, header_timeout: 1h, request_deadline: 1h }")
        .start();
    proxy.dial("app").closed();
    let mut wire = proxy.connect();
    wire.write(head(LINE, &[HOST]));
    assert_eq!(wire.answer().status, 204);
    wire.closed();
    proxy.upstream_saw(1);
}

#[test]
fn a_request_that_takes_longer_than_a_connection_may_idle_is_answered() {
    let proxy = Setup::new().section("limits: { idle_timeout: 50ms }").start();
    proxy.cloud().set_faults([Fault::LatencyMs(300).once()]);
    let mut wire = proxy.connect();
    wire.write(head(LINE, &[HOST]));
    let answer = wire.answer();
    assert_eq!(answer.status, 204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    proxy.upstream_saw(1);
}

#[test]
fn the_limits_of_a_head_are_those_of_the_configuration() {
    let proxy = Setup::new().section("limits: { header_bytes: 8KiB, headers: 8 }").start();
    let headers = |count: usize| vec!["X-A: b"; count - 1];
    for (bytes, refused) in [
        (head(LINE, &[&[HOST], &*headers(8)].concat()), None),
        (head(LINE, &[&[HOST], &*headers(9)].concat()), Some((431, "PROXY.HeadersTooLarge"))),
        (head(LINE, &[HOST, &long_header(7 * 1024)]), None),
        (head(LINE, &[HOST, &long_header(9 * 1024)]), Some((431, "PROXY.HeadersTooLarge"))),
    ] {
        proxy.queue("100211");
        let answer = proxy.send(bytes);
        match refused {
            Some((status, code)) => is_refused(&proxy, &answer, status, code),
            None => assert_eq!(answer.status, 204),
        }
    }
    proxy.upstream_saw(2);
}

#[test]
fn more_headers_than_a_hundred_are_taken_where_the_configuration_says_so() {
    let proxy = Setup::new().section("limits: { headers: 200 }").start();
    let headers = |count: usize| head(LINE, &[&[HOST], &*vec!["X-A: b"; count - 1]].concat());
    let answer = proxy.send(headers(200));
    assert_eq!(answer.status, 204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    is_refused(&proxy, &proxy.send(headers(201)), 431, "PROXY.HeadersTooLarge");
    proxy.upstream_saw(1);
}

#[test]
fn what_follows_a_head_that_cannot_be_trusted_is_not_read() {
    let proxy = Setup::new().start();
    for first in [
        head(LINE, &[HOST, "Transfer-Encoding: chunked"]),
        head(LINE, &[HOST, "Content-Length: 5"]),
        head(LINE, &[HOST, "Content-Length : 0"]),
        head(LINE, &[HOST]).replacen("\r\n", "\n", 1),
    ] {
        let mut wire = proxy.connect();
        wire.write(first + &head(LINE, &[HOST]));
        is_refused(&proxy, &wire.answer(), 400, "PROXY.BadRequest");
        wire.closed();
    }
    proxy.upstream_saw(0);
}

/// The refusal, whole, and its only record.
fn is_refused(proxy: &Proxy, answer: &Answer, status: u16, code: &str) {
    answer.is_refusal(status, code);
    proxy.record(answer).says(json!({
        "request.id": answer.header("x-request-id"), "http.response.status_code": status, "outcome": "refused",
        "error.type": code, "upstream.attempts": 0, "policy.effect": null, "credential.name": null,
    }));
}

/// A name, the bytes, and the status and code they are refused with.
pub(crate) type Case = (&'static str, String, u16, &'static str);

pub(crate) fn cases() -> Vec<Case> {
    [paths(), lines(), headers(), syntax()].concat()
}

/// Targets whose path is no operation's, or nearly one's.
fn paths() -> Vec<Case> {
    let bad = |what, text: &str| target(what, text, 400, BAD);
    let unknown = |what, text: &str| target(what, text, 404, "PROXY.NotFound");
    vec![
        unknown("the root", "/"),
        unknown("no such path", "/v2/media-prod/editing/queues/100211"),
        unknown("no such version", "/v3/media-prod/editing/jobs/100211"),
        unknown("upper case", "/v2/media-prod/editing/Jobs/100211"),
        unknown("two slashes at the start", "//v2/media-prod/editing/jobs/100211"),
        unknown("two slashes inside", "/v2/media-prod//editing/jobs/100211"),
        unknown("a slash at the end", "/v2/media-prod/editing/jobs/100211/"),
        unknown("dots inside", "/v2/media-prod/x/../editing/jobs/100211"),
        unknown("a dot inside", "/v2/./media-prod/editing/jobs/100211"),
        unknown("an encoded letter of the path", "/v2/media-prod/%65diting/jobs/100211"),
        unknown("a path parameter", "/v2;a=1/media-prod/editing/jobs/100211"),
        unknown("probes", "/livez"),
        bad("dots as the job", "/v2/media-prod/editing/jobs/.."),
        bad("a dot as the job", "/v2/media-prod/editing/jobs/."),
        bad("dots as the project", "/v2/../editing/jobs/100211"),
        bad("an encoded slash", "/v2/media-prod/editing/jobs/100211%2F"),
        bad("an encoded letter of the job", "/v2/media-prod/editing/jobs/%3100211"),
        bad("an encoded letter twice", "/v2/media-prod/editing/jobs/%253100211"),
        bad("an encoded NUL", "/v2/media-prod/editing/jobs/100211%00"),
        bad("an encoded project", "/v2/media%2Dprod/editing/jobs/100211"),
        bad("a broken escape", "/v2/media-prod/editing/jobs/100211%"),
        bad("a plus", "/v2/media-prod/editing/jobs/100+211"),
        bad("a backslash", "/v2/media-prod/editing/jobs/100211\\x"),
        bad("a semicolon", "/v2/media-prod/editing/jobs/100211;x"),
        bad("a colon", "/v2/media-prod/editing/jobs/100211:x"),
        bad("a letter of no alphabet", "/v2/media-prod/editing/jobs/1002\u{e9}"),
        bad("no job", "/v2/media-prod/editing/jobs/"),
        bad("no project", "/v2//editing/jobs/100211"),
        bad("a job of 65 letters", &format!("/v2/media-prod/editing/jobs/{}", "j".repeat(65))),
    ]
}

/// Queries, other forms of targets, and the rest of the request line.
fn lines() -> Vec<Case> {
    let bad = |what, text: &str| target(what, text, 400, BAD);
    let long = format!("/v2/media-prod/editing/jobs/{}", "j".repeat(300));
    vec![
        bad("a query on the path form", "/v2/media-prod/editing/jobs/100211?force=true"),
        bad("an empty query on the path form", "/v2/media-prod/editing/jobs/100211?"),
        bad("no query", "/v2/media-prod/editing/job"),
        bad("an empty query", "/v1/media-prod/editing/jobs?"),
        bad("another query", "/v1/media-prod/editing/jobs?id=100211"),
        bad("a query in upper case", "/v1/media-prod/editing/jobs?JOB_ID=100211"),
        bad("an encoded query", "/v1/media-prod/editing/jobs?job%5Fid=100211"),
        bad("no job id", "/v1/media-prod/editing/jobs?job_id="),
        bad("two job ids", "/v1/media-prod/editing/jobs?job_id=100211&job_id=100212"),
        bad("one more parameter", "/v1/media-prod/editing/jobs?job_id=100211&x=1"),
        bad("one parameter before", "/v1/media-prod/editing/jobs?x=1&job_id=100211"),
        bad("another separator", "/v1/media-prod/editing/jobs?job_id=100211;x=1"),
        bad("absolute-form", "http://localhost/v2/media-prod/editing/jobs/100211"),
        bad("absolute-form of another host", "http://evil.example/v2/media-prod/editing/jobs/100211"),
        bad("an asterisk", "*"),
        bad("no slash", "v2/media-prod/editing/jobs/100211"),
        bad("a fragment", "/v2/media-prod/editing/jobs/100211#x"),
        bad("a fragment first", "#/v2/media-prod/editing/jobs/100211"),
        target("a long target", &long, 414, "PROXY.TargetTooLong"),
        target("a target without end", &format!("/{}", "a".repeat(40_000)), 414, "PROXY.TargetTooLong"),
        ("CONNECT", head("CONNECT localhost:443 HTTP/1.1", &[HOST]), 400, BAD),
        ("HTTP/1.0", head(&LINE.replace("1.1", "1.0"), &[HOST]), 400, BAD),
        ("HTTP/1.2", head(&LINE.replace("1.1", "1.2"), &[HOST]), 400, BAD),
        ("HTTP/2.0", head(&LINE.replace("1.1", "2.0"), &[HOST]), 400, BAD),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400, BAD),
        ("no version", head("DELETE /v2/media-prod/editing/jobs/100211", &[HOST]), 400, BAD),
        ("no target", head("DELETE HTTP/1.1", &[HOST]), 400, BAD),
        ("two spaces", head(&LINE.replacen(' ', "  ", 1), &[HOST]), 400, BAD),
        ("a tab", head(&LINE.replacen(' ', "\t", 1), &[HOST]), 400, BAD),
        ("a space in the target", head(&LINE.replace("100211", "100 211"), &[HOST]), 400, BAD),
        ("a method that is none", head(&LINE.replacen("DELETE", "DEL(TE", 1), &[HOST]), 400, BAD),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03\r\n\r\n".into(), 400, BAD),
    ]
}

/// Headers that are well-formed and not acceptable.
fn headers() -> Vec<Case> {
    let with =
        |what, lines: &[&str], status, code| (what, head(LINE, &[&[HOST], lines].concat()), status, code);
    let hosts = |what, lines: &[&str], status, code| (what, head(LINE, lines), status, code);
    vec![
        hosts("no Host", &[], 400, BAD),
        hosts("an empty Host", &["Host:"], 421, "PROXY.WrongHost"),
        hosts("two Hosts", &[HOST, HOST], 400, BAD),
        hosts("two Hosts, one spelled otherwise", &[HOST, "HOST: evil.example"], 400, BAD),
        hosts("another Host", &["Host: evil.example"], 421, "PROXY.WrongHost"),
        hosts("a Host that starts well", &["Host: localhost.evil.example"], 421, "PROXY.WrongHost"),
        hosts("a Host that ends well", &["Host: evil-localhost"], 421, "PROXY.WrongHost"),
        hosts("a Host with a user", &["Host: localhost@evil.example"], 421, "PROXY.WrongHost"),
        hosts("a Host with a strange port", &["Host: localhost:80@evil.example"], 421, "PROXY.WrongHost"),
        hosts("a list of Hosts", &["Host: localhost, evil.example"], 421, "PROXY.WrongHost"),
        with("Origin", &["Origin: http://localhost"], 403, "PROXY.Forbidden"),
        with("Origin null", &["Origin: null"], 403, "PROXY.Forbidden"),
        with("Sec-Fetch-Site", &["Sec-Fetch-Site: same-origin"], 403, "PROXY.Forbidden"),
        with("Sec_Fetch_Site", &["Sec_Fetch_Site: none"], 403, "PROXY.Forbidden"),
        with("Transfer-Encoding", &["Transfer-Encoding: chunked"], 400, BAD),
        with("Transfer_Encoding", &["Transfer_Encoding: chunked"], 400, BAD),
        with("Transfer-Encoding identity", &["Transfer-Encoding: identity"], 400, BAD),
        with("Transfer-Encoding twice", &["Transfer-Encoding: x", "Transfer-Encoding: chunked"], 400, BAD),
        with("both framings", &["Content-Length: 0", "Transfer-Encoding: chunked"], 400, BAD),
        with("Content-Length 5", &["Content-Length: 5"], 400, BAD),
        with("Content-Length 00", &["Content-Length: 00"], 400, BAD),
        with("Content-Length +0", &["Content-Length: +0"], 400, BAD),
        with("Content-Length -1", &["Content-Length: -1"], 400, BAD),
        with("Content-Length that is none", &["Content-Length: zero"], 400, BAD),
        with("a list of lengths", &["Content-Length: 0, 0"], 400, BAD),
        with("two Content-Lengths", &["Content-Length: 0", "Content-Length: 0"], 400, BAD),
        with("two different lengths", &["Content-Length: 0", "Content-Length: 5"], 400, BAD),
        with("Content_Length", &["Content_Length: 5"], 400, BAD),
        with("Upgrade", &["Connection: upgrade", "Upgrade: h2c"], 400, BAD),
        with("Upgrade to a websocket", &["Upgrade: websocket"], 400, BAD),
        with("Expect", &["Expect: 100-continue"], 400, BAD),
        with("TE", &["TE: trailers"], 400, BAD),
        with("Trailer", &["Trailer: X-A"], 400, BAD),
        with("a huge header", &[&long_header(20_000)], 431, "PROXY.HeadersTooLarge"),
        with("too many headers", &["X-A: b"; 64], 431, "PROXY.HeadersTooLarge"),
        with("far too many headers", &["X-A: b"; 200], 431, "PROXY.HeadersTooLarge"),
        with(
            "a credential beside a fault",
            &[&format!("Authorization: Bearer {TOKEN}"), "TE: trailers"],
            400,
            BAD,
        ),
    ]
}

/// Heads that are not well-formed.
fn syntax() -> Vec<Case> {
    let good = head(LINE, &[HOST, "X-A: b"]);
    let bad = |what, bytes: String| (what, bytes, 400, BAD);
    vec![
        bad("a bare LF after the line", good.replacen("\r\n", "\n", 1)),
        bad("a bare LF after a header", good.replace("X-A: b\r\n", "X-A: b\n")),
        bad("bare LFs only", good.replace("\r\n", "\n")),
        bad("a bare LF at the end", good.replace("\r\n\r\n", "\r\n\n")),
        bad("a bare CR in a value", good.replace("X-A: b", "X-A: a\rb")),
        bad("a bare CR for a line end", good.replace("X-A: b\r\n", "X-A: b\rX-B: c\r\n")),
        bad("a NUL in a value", good.replace("X-A: b", "X-A: a\0b")),
        bad("a NUL in a name", good.replace("X-A: b", "X-\0A: b")),
        bad("a NUL in the target", good.replace("100211", "100211\0")),
        bad("a control character in a value", good.replace("X-A: b", "X-A: \x01")),
        bad("a folded line", good.replace("X-A: b", "X-A: a\r\n b")),
        bad("a folded first line", good.replacen("Host:", " Host:", 1)),
        bad("a space before the colon", good.replace("X-A: b", "X-A : b")),
        bad("a tab before the colon", good.replace("X-A: b", "X-A\t: b")),
        bad("a space before the colon of a length", good.replace("X-A: b", "Content-Length : 0")),
        bad("no name", good.replace("X-A: b", ": b")),
        bad("no colon", good.replace("X-A: b", "nonsense")),
        bad("a space in a name", good.replace("X-A: b", "X A: b")),
        bad("a letter of no alphabet in a name", good.replace("X-A: b", "X-\u{e9}: b")),
    ]
}

fn target(what: &'static str, target: &str, status: u16, code: &'static str) -> Case {
    (what, head(&format!("DELETE {target} HTTP/1.1"), &[HOST]), status, code)
}

fn head(line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

fn long_header(length: usize) -> String {
    format!("X-Long: {}", "a".repeat(length))
}

const LINE: &str = "DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1";
const HOST: &str = "Host: localhost";
const BAD: &str = "PROXY.BadRequest";
