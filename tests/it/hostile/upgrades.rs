//! Other protocols: upgrades, expectations, trailers, HTTP/2, and anything else sent to a port by mistake or design.

use super::{BAD, Case, HOST, LINE, Then, Told, head, judge, with};

#[test]
fn a_header_that_asks_for_more_than_an_answer_is_ignored_where_that_is_allowed_and_refused_elsewhere() {
    let mut cases = Vec::new();
    let ignored: fn(String, String) -> Case = |name, bytes| Case::harmless(name, bytes);
    let refused: fn(String, String) -> Case = |name, bytes| Case::bad(name, bytes);
    for (name, case, values) in [
        (
            "Upgrade",
            ignored,
            &["h2c", "websocket", "TLS/1.0", "HTTP/2.0", "connect-udp", "spdy/3.1", "x", ""][..],
        ),
        ("Expect", ignored, &["100-continue", "100-Continue"]),
        ("Expect", refused, &["200-ok", "x", "", "100-continue, x", "100-continue;x"]),
        ("TE", ignored, &["trailers", "chunked", "gzip;q=0.5", "trailers, chunked", ""]),
        ("Trailer", refused, &["X-A", "Content-Length", "Authorization", "*", ""]),
        ("Content-Encoding", refused, &["gzip", "identity", ""]),
    ] {
        for value in values {
            for name in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let line = format!("{name}: {value}");
                if name == "TE" && cases.iter().any(|case: &Case| case.name == line) {
                    continue;
                }
                cases.push(case(line.clone(), with(&[&line])));
            }
            let (line, connection) = (format!("{name}: {value}"), format!("Connection: {name}"));
            cases.push(case(format!("{line}, as Connection says"), with(&[&connection, &line])));
        }
    }
    judge(91, cases);
}

#[test]
fn an_upgrade_is_never_made() {
    let settings = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA";
    judge(
        6,
        [
            Case::harmless("h2c", with(&["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings])),
            Case::harmless(
                "h2c in Connection only once",
                with(&["Connection: Upgrade", "Upgrade: h2c", settings]),
            ),
            Case::told(
                "h2c and a preface behind it",
                with(&["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings]) + PREFACE,
                vec![super::cancelled(), BAD],
                Then::Closed,
            ),
            Case::harmless(
                "a websocket",
                with(&[
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: x",
                ]),
            ),
            Case::harmless("settings alone", with(&[settings])),
            Case::harmless("Connection: Upgrade alone", with(&["Connection: Upgrade"])),
        ],
    );
}

#[test]
fn bytes_of_another_protocol_are_a_broken_request() {
    let good = head(LINE, &[HOST]);
    let mut cases = vec![
        Case::bad("the preface of HTTP/2", PREFACE),
        Case::bad(
            "the preface of HTTP/2 and a frame",
            [PREFACE.as_bytes(), b"\0\0\0\x04\0\0\0\0\0"].concat(),
        ),
        Case::bad("the preface of HTTP/2 and a request", format!("{PREFACE}{good}")),
        Case::bad("half the preface, and a request", format!("PRI * HTTP/2.0\r\n\r\n{good}")),
        Case::told(
            "a preface behind a request",
            format!("{good}{PREFACE}"),
            vec![super::cancelled(), BAD],
            Then::Closed,
        ),
    ];
    for (what, bytes) in OTHERS {
        cases.push(Case::bad(*what, *bytes));
        let behind = [good.as_bytes(), bytes].concat();
        let told: Vec<Told> = vec![super::cancelled(), BAD];
        cases.push(Case::told(format!("{what} behind a request"), behind, told, Then::Closed));
    }
    judge(29, cases);
}

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const OTHERS: &[(&str, &[u8])] = &[
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("a PROXY header", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nDELETE / HTTP/1.1\r\n\r\n"),
    ("a PROXY header of version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"),
    ("a mail client", b"EHLO evil.example\r\nMAIL FROM:<a@evil.example>\r\n\r\n"),
    ("a Redis client", b"*1\r\n$4\r\nPING\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("SIP", b"OPTIONS sip:a@evil.example SIP/2.0\r\n\r\n"),
    ("RTSP", b"OPTIONS rtsp://evil.example/ RTSP/1.0\r\n\r\n"),
    ("ICAP", b"OPTIONS icap://evil.example/ ICAP/1.0\r\n\r\n"),
    ("a memcached client", b"get 100211\r\n\r\n"),
    ("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("zeros", &[0; 64]),
];
