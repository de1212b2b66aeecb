//! Framing: where a request ends. A cancel has no body, so anything that announces one, or could be read so, is refused, and
//! what follows is not read. For creates see `creates`.

use super::{Case, HOST, LINE, NO_METHOD, TOO_LARGE, Then, Told, head, judge, with};

#[test]
fn a_length_that_is_not_a_plain_zero_is_refused() {
    let mut cases = Vec::new();
    for value in LENGTHS {
        for name in ["Content-Length", "content-length", "Content_Length"] {
            cases.push(Case::bad(format!("{name}: {value:?}"), with(&[&format!("{name}: {value}")])));
        }
        let behind = format!("{}{}", with(&[&format!("Content-Length: {value}")]), SMUGGLED);
        cases.push(Case::bad(format!("{value:?}, and a request behind it"), behind));
    }
    judge(168, cases);
}

#[test]
fn two_lengths_are_refused_whatever_they_are() {
    let mut cases = Vec::new();
    for (one, other) in
        [("0", "0"), ("0", "5"), ("5", "0"), ("5", "5"), ("0", "00"), ("0", ""), ("0", "x"), ("0", "-0")]
    {
        for (first, second) in [
            ("Content-Length", "Content-Length"),
            ("Content-Length", "content-length"),
            ("CONTENT-LENGTH", "Content-Length"),
        ] {
            let (one, other) = (format!("{first}: {one}"), format!("{second}: {other}"));
            let name = format!("{one}, {other}");
            cases.push(Case::bad(format!("{name}, apart"), with(&[&one, "X-A: b", &other])));
            cases.push(Case::bad(name, with(&[&one, &other])));
        }
    }
    cases.push(Case::harmless(
        "one length, and one in a value",
        with(&["Content-Length: 0", "X-A: Content-Length: 5"]),
    ));
    cases.push(Case::harmless(
        "names that begin so",
        with(&["Content-Length: 0", "Content-Lengths: 5", "Content-Lengt: 5"]),
    ));
    judge(50, cases);
}

#[test]
fn a_transfer_encoding_is_refused_however_it_is_spelled() {
    let mut cases = Vec::new();
    for value in CODINGS {
        for name in ["Transfer-Encoding", "transfer-encoding", "Transfer_Encoding"] {
            cases.push(Case::bad(format!("{name}: {value:?}"), with(&[&format!("{name}: {value}")])));
        }
        let line = format!("Transfer-Encoding: {value}");
        for (what, lines) in [
            ("a length before it", ["Content-Length: 0", line.as_str()]),
            ("a length behind it", [line.as_str(), "Content-Length: 0"]),
            ("a length that is none", [line.as_str(), "Content-Length: x"]),
            ("another one", [line.as_str(), "Transfer-Encoding: identity"]),
        ] {
            cases.push(Case::bad(format!("{value:?}, {what}"), with(&lines)));
        }
    }
    judge(161, cases);
}

#[test]
fn a_body_is_refused_and_what_is_in_it_is_not_read() {
    let mut cases = Vec::new();
    for (what, headers, body) in [
        ("a length", vec!["Content-Length: 70"], SMUGGLED.to_owned()),
        ("a length that is too short", vec!["Content-Length: 5"], format!("xxxxx{SMUGGLED}")),
        ("a chunk", vec!["Transfer-Encoding: chunked"], format!("46\r\n{SMUGGLED}\r\n0\r\n\r\n")),
        ("no chunk", vec!["Transfer-Encoding: chunked"], format!("0\r\n\r\n{SMUGGLED}")),
        (
            "a chunk extension",
            vec!["Transfer-Encoding: chunked"],
            format!("0;\n{SMUGGLED}\r\n\r\n{SMUGGLED}"),
        ),
        ("a trailer", vec!["Transfer-Encoding: chunked"], format!("0\r\nX-A: b\r\n\r\n{SMUGGLED}")),
        (
            "a length and a chunk",
            vec!["Content-Length: 5", "Transfer-Encoding: chunked"],
            format!("0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk and a length",
            vec!["Transfer-Encoding: chunked", "Content-Length: 5"],
            format!("0\r\n\r\n{SMUGGLED}"),
        ),
        ("a chunk of no size", vec!["Transfer-Encoding: chunked"], format!("x\r\n{SMUGGLED}")),
        (
            "a chunk of every size",
            vec!["Transfer-Encoding: chunked"],
            format!("ffffffffffffffff1\r\n{SMUGGLED}"),
        ),
        ("two codings", vec!["Transfer-Encoding: gzip, chunked"], format!("0\r\n\r\n{SMUGGLED}")),
        ("a coding behind a comma", vec!["Transfer-Encoding: ,chunked"], format!("0\r\n\r\n{SMUGGLED}")),
        ("a coding nobody knows", vec!["Transfer-Encoding: xchunked"], format!("0\r\n\r\n{SMUGGLED}")),
        ("an expectation", vec!["Content-Length: 70", "Expect: 100-continue"], SMUGGLED.to_owned()),
        ("a body for a GET", vec!["Content-Length: 5"], "hello".to_owned()),
        ("an open end", vec!["Content-Length: 1000000000"], "x".to_owned()),
    ] {
        let lines = [&[HOST], &*headers].concat();
        for method in ["DELETE", "GET", "POST"] {
            let bytes = head(&LINE.replacen("DELETE", method, 1), &lines) + &body;
            let name = format!("{what}, {method}");
            // Another operation has a body with that method, but none at this path.
            let may_be_one = method == "POST"
                && headers.iter().any(|line| line.len() <= "Content-Length: 70".len())
                && !headers.iter().any(|line| line.starts_with("Transfer"));
            cases.push(match may_be_one {
                true => Case::told(name, bytes, vec![Told::Refused(NO_METHOD.0, NO_METHOD.1)], Then::Closed),
                false => Case::bad(name, bytes),
            });
        }
    }
    judge(48, cases);
}

#[test]
fn a_huge_header_or_too_many_are_refused_as_what_they_are() {
    let (huge, name) = (format!("X-A: {}", "a".repeat(20_000)), format!("{}: b", "X".repeat(20_000)));
    judge(
        3,
        [huge, name, "X-A: b\r\n".repeat(4000)].map(|line| {
            let told = vec![Told::Refused(TOO_LARGE.0, TOO_LARGE.1)];
            Case::told(line.get(..8).unwrap(), with(&[&line]), told, Then::Closed)
        }),
    );
}

const SMUGGLED: &str = "DELETE /v2/media-prod/editing/jobs/100212 HTTP/1.1\r\nHost: localhost\r\n\r\n";

const LENGTHS: &[&str] = &[
    "",
    "1",
    "5",
    "00",
    "000",
    "01",
    "+0",
    "-0",
    "+1",
    "-1",
    "0x0",
    "0x5",
    "0b0",
    "0o0",
    "0.0",
    "0e0",
    "0,0",
    "0, 0",
    "0,",
    ",0",
    "0;",
    "0 0",
    "0\t0",
    "\"0\"",
    "'0'",
    "(0)",
    "zero",
    "null",
    "NaN",
    "\u{ff10}",
    "\u{660}",
    "0\u{a0}",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "0, 5",
    "5, 0",
    "0 5",
    "0/5",
    "0%",
];

const CODINGS: &[&str] = &[
    "chunked",
    "Chunked",
    "CHUNKED",
    "identity",
    "gzip",
    "deflate",
    "compress",
    "trailers",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, chunked",
    "chunked,",
    ",chunked",
    "chunked;q=1",
    "\"chunked\"",
    "xchunked",
    "chunkedx",
    "x chunked",
    "chunked x",
    "chunke",
    "chunked\t",
    "\tchunked",
    "",
];
