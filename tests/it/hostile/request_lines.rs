//! Request lines: the method, the form of the target, the version, and every byte between them.

use super::{Case, HOST, LINE, NO_METHOD, NOT_FOUND, TOO_LONG, head, judge};

#[test]
fn another_method_is_refused_on_each_url() {
    let mut cases = Vec::new();
    for (form, url) in URLS {
        // A view and a create have the same path as a cancel by version 1.
        let others = ["GET", "POST"];
        for method in METHODS.iter().filter(|method| form != "v1 form" || !others.contains(method)) {
            let line = format!("{method} {url} HTTP/1.1");
            cases.push(Case::refused(format!("{method}, {form}"), head(&line, &[HOST]), NO_METHOD));
        }
        for header in
            ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"]
        {
            let (line, header_line) = (format!("POST {url} HTTP/1.1"), format!("{header}: DELETE"));
            let name = format!("POST with {header}, {form}");
            let bytes = head(&line, &[HOST, &header_line]);
            // As a create, it has a query that none has.
            cases.push(match form {
                "v1 form" => Case::bad(name, bytes),
                _ => Case::refused(name, bytes, NO_METHOD),
            });
        }
    }
    judge(76, cases);
}

#[test]
fn a_target_that_is_not_in_origin_form_is_refused() {
    let mut cases: Vec<Case> = TARGETS
        .iter()
        .map(|target| Case::bad(*target, head(&format!("DELETE {target} HTTP/1.1"), &[HOST])))
        .collect();
    for target in ["localhost:443", "evil.example:443", "*"] {
        let line = format!("CONNECT {target} HTTP/1.1");
        cases.push(Case::bad(format!("CONNECT {target}"), head(&line, &[HOST])));
    }
    for target in ["*", "localhost", "http://localhost/"] {
        cases.push(Case::bad(
            format!("OPTIONS {target}"),
            head(&format!("OPTIONS {target} HTTP/1.1"), &[HOST]),
        ));
    }
    let long = format!("DELETE /{} HTTP/1.1", "a".repeat(40_000));
    cases.push(Case::told(
        "a target without end",
        head(&long, &[HOST]),
        vec![super::Told::Refused(414, TOO_LONG.1)],
        super::Then::Closed,
    ));
    judge(49, cases);
}

#[test]
fn a_version_that_is_neither_1_1_nor_1_0_is_refused() {
    let cases = VERSIONS.map(|version| {
        let bytes = head(&LINE.replace("HTTP/1.1", version), &[HOST]);
        let told = vec![super::BAD];
        Case::told(format!("version {version:?}"), bytes, told, super::Then::Closed)
    });
    judge(29, cases);
}

#[test]
fn a_request_of_http_1_0_is_answered_and_the_last_of_its_connection() {
    let old = LINE.replace("HTTP/1.1", "HTTP/1.0");
    let closed = |name: &str, headers: &[&str], told| {
        // Nothing after it is read.
        let bytes = head(&old, headers) + &head(LINE, &[HOST]);
        Case::told(name, bytes, vec![told], super::Then::Closed)
    };
    let refused = |(status, code)| super::Told::Refused(status, code);
    judge(
        7,
        [
            closed("as nginx sends it", &[HOST, "Connection: close"], super::cancelled()),
            closed("without a word on the connection", &[HOST], super::cancelled()),
            closed(
                "that wants to keep the connection",
                &[HOST, "Connection: keep-alive"],
                super::cancelled(),
            ),
            closed("without a Host", &[], super::BAD),
            closed("with two Hosts", &[HOST, HOST], super::BAD),
            closed("with another Host", &["Host: evil.example"], refused(super::WRONG_HOST)),
            closed("with a coding", &[HOST, "Transfer-Encoding: chunked"], super::BAD),
        ],
    );
}

#[test]
fn a_request_line_with_a_byte_too_many_or_too_few_is_refused() {
    let mut cases = Vec::new();
    for (what, line) in LINES {
        cases.push(Case::bad(*what, head(line, &[HOST])));
    }
    for byte in (0..=0x20).chain([0x7f, 0x80, 0xa0, 0xff]) {
        let place = |at: usize| {
            let mut bytes = head(LINE, &[HOST]).into_bytes();
            bytes.insert(at, byte);
            bytes
        };
        let job = LINE.find("100211").unwrap() + 3;
        // A line feed splits the line into two broken ones.
        for (what, at) in [("the method", 3), ("the target", job), ("the version", LINE.len() - 3)] {
            cases.push(Case::bad(format!("{byte:#04x} in {what}"), place(at)));
        }
        if !b"\r\n".contains(&byte) {
            cases.push(Case::bad(format!("{byte:#04x} before the line"), place(0)));
        }
    }
    judge(173, cases);
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let good = head(LINE, &[HOST]);
    let root = head("DELETE / HTTP/1.1", &[HOST]);
    judge(
        7,
        [
            Case::harmless("one empty line", format!("\r\n{good}")),
            Case::harmless("three empty lines", format!("\r\n\r\n\r\n{good}")),
            Case::refused("an empty line before a path that is not found", format!("\r\n{root}"), NOT_FOUND),
            Case::bad("a bare line feed", format!("\n{good}")),
            Case::bad("a bare carriage return", format!("\r{good}")),
            Case::bad("an empty line and a bare line feed", format!("\r\n\n{good}")),
            Case::bad("a line of spaces", format!("  \r\n{good}")),
        ],
    );
}

const URLS: [(&str, &str); 3] = [
    ("path form", "/v2/media-prod/editing/jobs/100211"),
    ("query form", "/v2/media-prod/editing/job?job_id=100211"),
    ("v1 form", "/v1/media-prod/editing/jobs?job_id=100211"),
];

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "delete", "Delete", "DELETEX",
    "XDELETE", "DELET", "PURGE", "PROPFIND", "M-SEARCH", "_DELETE", "DELETE_", "D.E", "!DELETE", "PRI", "A",
];

const TARGETS: &[&str] = &[
    "http://localhost/v2/media-prod/editing/jobs/100211",
    "HTTP://localhost/v2/media-prod/editing/jobs/100211",
    "https://localhost/v2/media-prod/editing/jobs/100211",
    "http://localhost:80/v2/media-prod/editing/jobs/100211",
    "http://evil.example/v2/media-prod/editing/jobs/100211",
    "http://user@localhost/v2/media-prod/editing/jobs/100211",
    "http://localhost@evil.example/v2/media-prod/editing/jobs/100211",
    "http://127.0.0.1/v2/media-prod/editing/jobs/100211",
    "http://[::1]/v2/media-prod/editing/jobs/100211",
    "http:///v2/media-prod/editing/jobs/100211",
    "http:/v2/media-prod/editing/jobs/100211",
    "ftp://localhost/v2/media-prod/editing/jobs/100211",
    "file:///v2/media-prod/editing/jobs/100211",
    "gopher://localhost/",
    "unix:/run/x",
    "ws://localhost/v2/media-prod/editing/jobs/100211",
    "localhost",
    "localhost:80",
    "evil.example:443",
    "localhost/v2/media-prod/editing/jobs/100211",
    "localhost:80/v2/media-prod/editing/jobs/100211",
    "*",
    "**",
    "*/v2/media-prod/editing/jobs/100211",
    "v2/media-prod/editing/jobs/100211",
    "./v2/media-prod/editing/jobs/100211",
    "../v2/media-prod/editing/jobs/100211",
    "\\v2\\media-prod\\editing\\jobs\\100211",
    "%2fv2/media-prod/editing/jobs/100211",
    "?job_id=100211",
    "?",
    "#",
    "#/v2/media-prod/editing/jobs/100211",
    "/v2/media-prod/editing/jobs/100211#",
    "/v2/media-prod/editing/jobs/100211#x",
    "@",
    ":",
    ":80",
    "[::1]:80",
    "0",
    "\"/v2/media-prod/editing/jobs/100211\"",
    "</v2/media-prod/editing/jobs/100211>",
];

const VERSIONS: [&str; 29] = [
    "HTTP/0.9",
    "HTTP/1.2",
    "HTTP/1.10",
    "HTTP/1.01",
    "HTTP/01.1",
    "HTTP/2.0",
    "HTTP/2",
    "HTTP/3",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
    "HTTP/",
    "HTTP",
    "http/1.1",
    "Http/1.1",
    "HTTP/1,1",
    "HTTP/1.1.1",
    "HTTP/1.1a",
    "HTTP-1.1",
    "HTTP 1.1",
    "HTTP\\1.1",
    "HTTPS/1.1",
    "HTTP/1.1;",
    "HTTP/-1.1",
    "HTTP/+1.1",
    "HTTP/1.1 HTTP/1.1",
    "ICY/1.1",
    "SIP/2.0",
    "RTSP/1.0",
];

pub(super) const LINES: &[(&str, &str)] = &[
    ("no version", "DELETE /v2/media-prod/editing/jobs/100211"),
    ("no version and a space", "DELETE /v2/media-prod/editing/jobs/100211 "),
    ("no target", "DELETE HTTP/1.1"),
    ("no target and two spaces", "DELETE  HTTP/1.1"),
    ("no method", "/v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("no method and a space", " /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method only", "DELETE"),
    ("a version only", "HTTP/1.1"),
    ("a space before", " DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a tab before", "\tDELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a space behind", "DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1 "),
    ("a tab behind", "DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1\t"),
    ("two spaces after the method", "DELETE  /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("two spaces before the version", "DELETE /v2/media-prod/editing/jobs/100211  HTTP/1.1"),
    ("tabs for spaces", "DELETE\t/v2/media-prod/editing/jobs/100211\tHTTP/1.1"),
    ("a space within the target", "DELETE /v2/media-prod/editing/jobs/100 211 HTTP/1.1"),
    ("two targets", "DELETE /v2/media-prod/editing/jobs/1 /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("two requests", "DELETE / HTTP/1.1 DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method with brackets", "DEL(TE /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method with a colon", "DELETE: /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method with a slash", "DEL/ETE /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method with a comma", "DELETE,GET /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a method in quotes", "\"DELETE\" /v2/media-prod/editing/jobs/100211 HTTP/1.1"),
    ("a header for a line", "Host: localhost"),
    ("a command of Redis", "SET 100211 x"),
    ("a greeting of mail", "EHLO localhost"),
    ("the PROXY protocol", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2"),
];
