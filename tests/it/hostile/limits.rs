//! Limits of a head: at the limit it is accepted, one beyond it is refused with the right code.

use super::{Case, HOST, LINE, TOO_LARGE, TOO_LONG, Then, Told, head, judge, judge_on, target};
use crate::harness::{Setup, request};

#[test]
fn a_head_of_as_many_bytes_as_the_limit_says_is_read_and_one_more_is_not() {
    let proxy = Setup::new().section("limits: { header_bytes: 8KiB, headers: 200 }").start();
    let mut cases = Vec::new();
    for (what, length, fits) in [
        ("one less", -1, true),
        ("the limit", 0, true),
        ("one more", 1, false),
        ("a hundred more", 100, false),
    ] {
        for (place, bytes) in [
            ("in a value", padded(8192 + length, |padding| vec![format!("X-A: {padding}")])),
            ("in a name", padded(8192 + length, |padding| vec![format!("X{padding}: b")])),
            (
                "in many headers",
                padded(8192 + length, |padding| {
                    padding
                        .as_bytes()
                        .chunks(50)
                        .map(|part| format!("X-A: {}", "a".repeat(part.len().max(1))))
                        .collect()
                }),
            ),
        ] {
            let name = format!("{what}, {place}");
            cases.push(match fits {
                true => Case::harmless(name, bytes),
                false => refused(name, bytes, TOO_LARGE),
            });
        }
    }
    judge_on(&proxy, "app", 12, cases);
}

#[test]
fn as_many_headers_as_the_limit_says_are_read_and_one_more_is_not() {
    for (limit, section) in [
        (64, ""),
        (8, "limits: { headers: 8 }"),
        (100, "limits: { headers: 100 }"),
        (101, "limits: { headers: 101 }"),
    ] {
        let proxy = Setup::new().section(section).start();
        let headers = |count: usize| head(LINE, &[&[HOST][..], &vec!["X-A: b"; count - 1]].concat());
        judge_on(
            &proxy,
            "app",
            4,
            [
                Case::harmless(format!("{} of {limit}", limit - 1), headers(limit - 1)),
                Case::harmless(format!("{limit} of {limit}"), headers(limit)),
                refused(format!("{} of {limit}", limit + 1), headers(limit + 1), TOO_LARGE),
                refused(format!("twice {limit}"), headers(2 * limit), TOO_LARGE),
            ],
        );
    }
}

#[test]
fn a_target_is_too_long_before_it_is_anything_else() {
    let of = |length: usize| format!("/{}", "a".repeat(length - 1));
    let long = |length: usize| Case::refused(format!("{length} bytes"), target(&of(length)), TOO_LONG);
    judge(
        9,
        [
            Case::refused("256 bytes", target(&of(256)), super::NOT_FOUND),
            long(257),
            long(1000),
            long(8000),
            long(16000),
            refused("16 KiB".into(), target(&of(16 * 1024)), TOO_LONG),
            refused("64 KiB".into(), target(&of(64 * 1024)), TOO_LONG),
            refused("64 KiB without an end".into(), format!("DELETE {}", of(64 * 1024)), TOO_LONG),
            refused("64 KiB of a method".into(), "D".repeat(64 * 1024), TOO_LONG),
        ],
    );
}

#[test]
fn a_head_without_an_end_is_cut_off() {
    let endless = |line: &str| format!("{LINE}\r\n{HOST}\r\n{}", line.repeat(64 * 1024 / line.len()));
    judge(
        5,
        [
            refused("headers".into(), endless("X-A: b\r\n"), TOO_LARGE),
            refused("one value".into(), endless("X"), TOO_LARGE),
            refused("empty values".into(), endless("a:\r\n"), TOO_LARGE),
            refused(
                "white space".into(),
                format!("{LINE}\r\n{HOST}\r\nX-A: {}", " ".repeat(64 * 1024)),
                TOO_LARGE,
            ),
            refused("empty lines".into(), "\r\n".repeat(32 * 1024), TOO_LONG),
        ],
    );
}

/// The same head, byte by byte or at once.
#[test]
fn the_pieces_that_a_head_comes_in_make_no_difference() {
    let proxy = Setup::new().section("limits: { header_bytes: 8KiB }").start();
    let fits = padded(8192, |padding| vec![format!("X-A: {padding}")]);
    let too_large = padded(8193, |padding| vec![format!("X-A: {padding}")]);
    for piece in [1, 7, 100, 4096, 8191] {
        for (bytes, status) in
            [(&fits, 204), (&too_large, 431), (&request("DELETE", "/", &[]).into_bytes(), 404)]
        {
            proxy.queue("100211");
            let mut wire = proxy.connect();
            bytes.chunks(piece).for_each(|piece| wire.write(piece));
            assert_eq!(wire.answer().status, status, "in pieces of {piece}");
        }
    }
}

fn refused(name: String, bytes: impl Into<Vec<u8>>, (status, code): (u16, &'static str)) -> Case {
    Case::told(name, bytes, vec![Told::Refused(status, code)], Then::Closed)
}

/// A head of this many bytes, padded with headers.
fn padded(length: i32, headers: impl Fn(&str) -> Vec<String>) -> Vec<u8> {
    let length = usize::try_from(length).unwrap();
    let with = |padding: usize| {
        let headers = headers(&"a".repeat(padding));
        head(LINE, &[&[HOST], &*headers.iter().map(String::as_str).collect::<Vec<_>>()].concat())
    };
    let found = (1..length).rev().map(with).find(|head| head.len() == length);
    found.unwrap().into_bytes()
}
