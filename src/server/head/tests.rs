use super::*;

/// The result of parsing bytes, the same at once as one by one, and the unread rest.
fn taken(bytes: &[u8], limits: &Limits) -> (Result<Option<Head>, HeadFault>, usize) {
    let mut at_once = BytesMut::from(bytes);
    let result = Recogniser::new(limits).take(&mut at_once);
    let (mut recogniser, mut pieces) = (Recogniser::new(limits), BytesMut::new());
    let mut by_byte = Ok(None);
    for (at, byte) in bytes.iter().enumerate() {
        pieces.extend_from_slice(&[*byte]);
        by_byte = recogniser.take(&mut pieces);
        if !matches!(by_byte, Ok(None)) {
            assert!(result.is_err() || pieces.len() + bytes.len() - at - 1 == at_once.len());
            break;
        }
    }
    assert_eq!(format!("{by_byte:?}"), format!("{result:?}"), "{}", bytes.escape_ascii());
    (result, at_once.len())
}

fn accepted(bytes: &str) -> Head {
    taken(bytes.as_bytes(), &Limits::default()).0.unwrap().unwrap()
}

fn fault(bytes: &[u8]) -> String {
    match taken(bytes, &Limits::default()).0 {
        Err(fault) => fault.refusal.to_string(),
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

#[test]
fn a_head_is_taken_to_its_end_and_no_further() {
    for head in [
        "DELETE /v2/p HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\nDELETE / HTTP/1.1\r\nX: a#b\r\n\r\n",
        "DELETE / HTTP/1.0\r\nContent-Length: 0\r\nX: content-length:\r\nContent-Lengths: 5\r\n\r\n",
    ] {
        for rest in ["", "D", "DELETE / HTTP/1.1\r\n\r\n", "\n\r\0#"] {
            let (head, left) = taken(format!("{head}{rest}").as_bytes(), &Limits::default());
            assert_eq!((head.unwrap().is_some(), left), (true, rest.len()));
        }
    }
    let head = accepted("DELETE /a?b=c HTTP/1.1\r\nHost: h\r\nX-A: \t1 2\t \r\nX-A: \x7e\r\n\r\n");
    assert_eq!((head.parts.method.as_str(), head.parts.uri.to_string()), ("DELETE", "/a?b=c".into()));
    let values: Vec<&[u8]> = head.parts.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!((values, head.parts.headers.len()), (vec![&b"1 2"[..], b"~"], 3));
}

#[test]
fn a_part_of_a_head_waits_for_the_rest() {
    for (part, begun) in [
        ("", false),
        ("\r\n", false),
        ("DEL", true),
        ("\r\nD", true),
        ("DELETE / HTTP/1.1\r\n", true),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n", true),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n\r", true),
    ] {
        let (mut recogniser, mut bytes) = (Recogniser::new(&Limits::default()), BytesMut::from(part));
        assert!(matches!(recogniser.take(&mut bytes), Ok(None)), "{part:?}");
        assert_eq!((recogniser.has_begun(), bytes.len()), (begun, part.len()), "{part:?}");
    }
}

#[test]
fn the_last_request_of_a_connection_says_so_or_is_of_http_1_0() {
    for (text, is_last) in [
        ("HTTP/1.1\r\n\r\n", false),
        ("HTTP/1.1\r\nConnection: keep-alive, x\r\n\r\n", false),
        ("HTTP/1.1\r\nConnection: closed\r\n\r\n", false),
        ("HTTP/1.1\r\nConnection_: close\r\n\r\n", false),
        ("HTTP/1.1\r\nConnection: keep-alive\r\nconnection: x ,\tClose\r\n\r\n", true),
        ("HTTP/1.0\r\n\r\n", true),
        ("HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        assert_eq!(accepted(&format!("DELETE / {text}")).is_last, is_last, "{text:?}");
    }
}

#[test]
fn what_ordinary_clients_ask_for_besides_is_ignored() {
    for line in [
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "TE: trailers, deflate;q=0.5",
        "Expect: 100-continue",
        "Expect: 100-Continue",
        "Content-Length: 0",
        "Content_Length: 0",
        "Keep-Alive: 300",
    ] {
        accepted(&format!("DELETE / HTTP/1.1\r\n{line}\r\n\r\n"));
    }
}

#[test]
fn what_two_readers_may_read_differently_is_a_fault() {
    for (bytes, expected) in [
        (&b"DELETE / HTTP/1.1\nHost: h\r\n\r\n"[..], Reason::BareLf),
        (b"DELETE / HTTP/1.1\r\nHost: h\n\r\n", Reason::BareLf),
        (b"DELETE / HTTP/1.1\r\nHost: h\r\n\n", Reason::BareLf),
        (b"\nDELETE / HTTP/1.1\r\nHost: h\r\n\r\n", Reason::BareLf),
        (b"DELETE / HTTP/1.1\rHost: h\r\n\r\n", Reason::BareCr),
        (b"DELETE / HTTP/1.1\r\r\n", Reason::BareCr),
        (b"DELETE / HTTP/1.1\0", Reason::NulInHead),
        (b"DELETE / HTTP/1.1\r\nX: a\0b\r\n\r\n", Reason::NulInHead),
        (b"DELETE /a#b HTTP/1.1\r\n\r\n", Reason::TargetCharacter),
        ("DELETE /\u{e9} HTTP/1.1\r\n\r\n".as_bytes(), Reason::TargetCharacter),
        (b"DELETE http://h/ HTTP/1.1\r\n\r\n", Reason::TargetForm),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Reason::TargetForm),
        (b"CONNECT h:443 HTTP/1.1\r\n\r\n", Reason::TargetForm),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::HttpVersion),
        (b"DELETE / HTTP/1.2\r\n\r\n", Reason::HttpVersion),
        (b"DELETE / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", Reason::NotHttp),
        (b"DELETE / HTTP/1.1\r\nX : a\r\n\r\n", Reason::NotHttp),
        (b"DELETE / HTTP/1.1\r\n: a\r\n\r\n", Reason::NotHttp),
        (
            b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\nA: b\r\ncontent-lengTH:0\r\n\r\n",
            Reason::SeveralLengths,
        ),
        (b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\nContent_Length: 0\r\n\r\n", Reason::SeveralLengths),
    ] {
        assert_eq!(fault(bytes), expected.to_string(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_body_is_refused_however_it_is_announced() {
    for (line, expected) in [
        ("Content-Length: 1", Reason::BodyNotAllowed),
        ("Content-Length: 9999999", Reason::BodyNotAllowed),
        ("Content_Length: 5", Reason::BodyNotAllowed),
        ("Content-Length: 10000000", Reason::BadLength),
        ("Content-Length: 00", Reason::BadLength),
        ("Content-Length: 01", Reason::BadLength),
        ("Content-Length: +0", Reason::BadLength),
        ("Content-Length: -0", Reason::BadLength),
        ("Content-Length: 0, 0", Reason::BadLength),
        ("Content-Length:", Reason::BadLength),
        ("Transfer-Encoding: identity", Reason::TransferEncoding),
        ("transfer_encoding: chunked", Reason::TransferEncoding),
        ("Trailer: X-A", Reason::Trailer),
        ("Content-Encoding: gzip", Reason::ContentEncoding),
        ("Expect: 100-continue, x", Reason::Expect),
        ("Expect:", Reason::Expect),
    ] {
        for version in ["1.1", "1.0"] {
            let head = format!("DELETE / HTTP/{version}\r\n{line}\r\n\r\n");
            assert_eq!(fault(head.as_bytes()), expected.to_string(), "{line}");
        }
    }
}

#[test]
fn a_body_is_announced_in_one_way_by_the_methods_that_have_one() {
    let announced = |lines: &str, version: &str| {
        let body = accepted(&format!("POST / HTTP/{version}\r\n{lines}\r\n")).body.unwrap();
        (body.length, body.is_waited_for)
    };
    for (lines, expected) in [
        ("", (None, false)),
        ("Content-Length: 0\r\n", (Some(0), false)),
        ("content-length: 7\r\n", (Some(7), false)),
        ("Content-Length: 9999999\r\nExpect: 100-Continue\r\n", (Some(9_999_999), true)),
        ("Expect: 100-continue\r\n", (None, true)),
    ] {
        assert_eq!(announced(lines, "1.1"), expected, "{lines}");
        assert_eq!(announced(lines, "1.0"), (expected.0, false), "nobody told it to wait: {lines}");
    }
    assert_eq!(accepted("DELETE / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").body, None);
    for (lines, expected) in [
        ("Content-Length: 5\r\nContent-Length: 5", Reason::SeveralLengths),
        ("Content-Length: 5\r\nContent_Length: 5", Reason::SeveralLengths),
        ("Content_Length: 5\r\nContent-Length: 5", Reason::BadLength),
        ("Content_Length: 5", Reason::BadLength),
        ("Content-Length: 5, 5", Reason::BadLength),
        ("Content-Length: 05", Reason::BadLength),
        ("Content-Length: +5", Reason::BadLength),
        ("Content-Length: 0x5", Reason::BadLength),
        ("Content-Length: 10000000", Reason::BadLength),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Reason::TransferEncoding),
        ("transfer_encoding: x\r\nContent-Length: 5", Reason::TransferEncoding),
        ("Content-Length: 5\r\nTrailer: x", Reason::Trailer),
        ("Content-Length: 5\r\nContent-Encoding: identity", Reason::ContentEncoding),
        ("Content-Length: 5\r\nExpect: 200-ok", Reason::Expect),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
        assert_eq!(fault(head.as_bytes()), expected.to_string(), "{lines}");
    }
}

#[test]
fn a_fault_tells_whether_its_answer_may_have_a_body() {
    for (bytes, is_head) in [
        ("HEAD / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", true),
        ("\r\n\r\nHEAD / HTTP/1.1\r\nX: \0", true),
        ("HEADS / HTTP/1.1\r\n\n", false),
        ("DELETE / HTTP/2.0\r\n\r\n", false),
        ("\n", false),
    ] {
        let fault = taken(bytes.as_bytes(), &Limits::default()).0.unwrap_err();
        assert_eq!(fault.is_head, is_head, "{bytes:?}");
    }
}

#[test]
fn what_is_at_the_limits_is_a_head_and_what_is_beyond_is_told_which() {
    let limits = Limits { header_bytes: 200, headers: 8, ..Limits::default() };
    let of = |length: usize| format!("DELETE / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(length - 26));
    assert!(taken(of(200).as_bytes(), &limits).0.unwrap().is_some());
    let code = |bytes: &str| format!("{:?}", taken(bytes.as_bytes(), &limits).0.unwrap_err().refusal);
    assert_eq!(code(&of(201)), "HeadersTooLarge");
    assert_eq!(code(&format!("DELETE /{}", "a".repeat(200))), "TargetTooLong");
    assert_eq!(code(&"\r\n".repeat(100)), "TargetTooLong");
    let many = |count: usize| format!("DELETE / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(count));
    assert!(taken(many(8).as_bytes(), &limits).0.unwrap().is_some());
    assert_eq!(code(&many(9)), "HeadersTooLarge");
    let limits = Limits { headers: 300, ..Limits::default() };
    assert!(taken(many(300).as_bytes(), &limits).0.unwrap().is_some(), "more than are usual");
}
