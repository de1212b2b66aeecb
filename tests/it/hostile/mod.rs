//! Hostile bytes: tables of requests, each with a name, the bytes, and the expected result.
//!
//! Every case checks four things: the complete answers; what upstream saw, which is exactly what is allowed and not
//! one more byte of the caller; a record for each answer; and the connection, which is closed, or usable and
//! in step.

mod authentication;
mod browsers;
mod clients;
mod framing;
mod headers;
mod hops;
mod hosts;
mod limits;
mod paths;
mod pipelines;
mod queries;
mod request_lines;
mod upgrades;

use std::collections::BTreeSet;

use mpc_auth_proxy::testserver::Seen;
use serde_json::json;

use crate::harness::{ACCESS_KEY, Answer, PROJECT, Proxy, Setup, Wire};

/// The bytes of one connection, and the expected result.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// One for each answer.
    told: Vec<Told>,
    then: Then,
}

/// The answer to the caller.
#[derive(Clone, Debug)]
enum Told {
    /// The job is cancelled, and upstream saw this target.
    Cancelled(String),
    /// Refused with this status and code; upstream sees nothing.
    Refused(u16, &'static str),
}

/// The state of the connection afterwards.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It accepts another request.
    Usable,
    /// It closes after the last answer.
    Closed,
}

impl Case {
    /// Bytes that cannot be trusted as a request: nothing after them is read.
    fn bad(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::told(name, bytes, vec![BAD], Then::Closed)
    }

    /// A request that is parsed and refused.
    fn refused(
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        (status, code): (u16, &'static str),
    ) -> Self {
        Self::told(name, bytes, vec![Told::Refused(status, code)], Then::Usable)
    }

    /// An odd request that is executed normally.
    fn harmless(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::told(name, bytes, vec![cancelled()], Then::Usable)
    }

    fn told(name: impl Into<String>, bytes: impl Into<Vec<u8>>, told: Vec<Told>, then: Then) -> Self {
        Self { name: name.into(), bytes: bytes.into(), told, then }
    }
}

fn cancelled() -> Told {
    Told::Cancelled(format!("/v2/{PROJECT}/editing/jobs/100211"))
}

/// Checks every case of a table, at least this many, on the listener `app`.
fn judge(least: usize, cases: impl IntoIterator<Item = Case>) {
    judge_on(&Setup::new().start(), "app", least, cases);
}

fn judge_on(proxy: &Proxy, listener: &str, least: usize, cases: impl IntoIterator<Item = Case>) {
    let mut names = BTreeSet::new();
    for case in cases {
        eprintln!("{}", case.name);
        proxy.cloud().clear_requests();
        proxy.queue("100211");
        let mut wire = proxy.dial(listener);
        proxy.expect_records(case.told.len());
        wire.write(&case.bytes);
        for told in &case.told {
            is_told(proxy, &mut wire, told, &case);
        }
        match case.then {
            Then::Closed => wire.closed(),
            Then::Usable => is_usable(proxy, wire),
        }
        let asked_for: Vec<&String> = case.told.iter().filter_map(Told::target).collect();
        let seen = proxy.upstream_saw(asked_for.len());
        for (seen, target) in seen.iter().zip(asked_for) {
            is_exactly_what_is_allowed(proxy, seen, target);
        }
        assert!(names.insert(case.name.clone()), "two cases are named {}", case.name);
    }
    assert!(names.len() >= least, "{} cases", names.len());
}

impl Told {
    fn target(&self) -> Option<&String> {
        match self {
            Self::Cancelled(target) => Some(target),
            Self::Refused(..) => None,
        }
    }
}

fn is_told(proxy: &Proxy, wire: &mut Wire, told: &Told, case: &Case) {
    let answer = if case.bytes.starts_with(b"HEAD ") { wire.head() } else { wire.answer() };
    match told {
        Told::Cancelled(_) => {
            assert_eq!(answer.status, 204, "{}: {answer:#?}", case.name);
            proxy.record(&answer).says(json!({ "outcome": "forwarded", "upstream.attempts": 1 }));
        }
        Told::Refused(status, code) => {
            assert_eq!(answer.status, *status, "{}: {answer:#?}", case.name);
            is_refusal(&answer, (*status, code), case);
            proxy.record(&answer).says(json!({
                "http.response.status_code": status, "outcome": "refused", "error.type": code,
                "upstream.attempts": 0, "credential.name": null, "policy.effect": null,
            }));
        }
    }
}

fn is_refusal(answer: &Answer, (status, code): (u16, &str), case: &Case) {
    if !case.bytes.starts_with(b"HEAD ") {
        answer.is_refusal(status, code);
    }
    let closes = answer.all("connection").eq(["close"]);
    if status == 400 {
        assert!(closes, "{}: a connection that ends says so: {answer:#?}", case.name);
    }
    assert_eq!(answer.all("allow").count(), usize::from(status == 405), "{}: {answer:#?}", case.name);
}

/// Asserts that nothing sent before is left unread: the next request is answered as such.
fn is_usable(proxy: &Proxy, mut wire: Wire) {
    proxy.expect_records(1);
    let answer = wire.ask(head("PROBE / HTTP/1.1", &[HOST]));
    assert!([401, 404].contains(&answer.status), "{answer:#?}");
    proxy.record(&answer).says(json!({ "outcome": "refused", "http.request.method": "_OTHER" }));
}

fn is_exactly_what_is_allowed(proxy: &Proxy, seen: &Seen, target: &str) {
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.body.len()), ("DELETE", target, 0));
    let endpoint = proxy.endpoint();
    let date = seen.header("x-sdk-date").unwrap();
    let authorization = seen.header("authorization").unwrap();
    let mut headers: Vec<(&str, &str)> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.sort_unstable();
    let expected = [
        ("accept", "application/json"),
        ("authorization", authorization),
        ("host", endpoint.strip_prefix("http://").unwrap()),
        ("user-agent", concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION"))),
        ("x-project-id", PROJECT),
        ("x-project_id", PROJECT),
        ("x-sdk-date", date),
    ];
    assert_eq!(headers, expected);
    assert!(date.len() == 16 && date.ends_with('Z'), "{date}");
    let signature = authorization
        .strip_prefix(&format!("SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders="))
        .and_then(|rest| rest.strip_prefix("host;x-project-id;x-sdk-date, Signature="))
        .unwrap_or_else(|| panic!("{authorization}"));
    assert!(signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit()), "{authorization}");
}

/// Refused requests of every kind, each with one answer.
pub(crate) fn refused() -> Vec<String> {
    let lines = request_lines::LINES.iter().map(|(_, line)| head(line, &[HOST]));
    let headers = headers::BROKEN.iter().map(|(_, line)| with(&[line]));
    let others = pipelines::bad().into_iter().map(|(_, bytes, _)| bytes);
    others.chain(lines).chain(headers).collect()
}

/// A head: request line and headers.
fn head(line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

/// A valid request for this target.
fn target(target: &str) -> String {
    head(&format!("DELETE {target} HTTP/1.1"), &[HOST])
}

/// A valid request with these headers.
fn with(headers: &[&str]) -> String {
    head(LINE, &[&[HOST], headers].concat())
}

const LINE: &str = "DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1";
const HOST: &str = "Host: localhost";
const BAD: Told = Told::Refused(400, "PROXY.BadRequest");
const UNAUTHENTICATED: (u16, &str) = (401, "PROXY.Unauthenticated");
const FORBIDDEN: (u16, &str) = (403, "PROXY.Forbidden");
const NOT_FOUND: (u16, &str) = (404, "PROXY.NotFound");
const NO_METHOD: (u16, &str) = (405, "PROXY.MethodNotAllowed");
const TOO_LONG: (u16, &str) = (414, "PROXY.TargetTooLong");
const WRONG_HOST: (u16, &str) = (421, "PROXY.WrongHost");
const TOO_LARGE: (u16, &str) = (431, "PROXY.HeadersTooLarge");
