//! Header lines: their syntax, at any place in the head, and headers that do not matter.

use super::{Case, HOST, LINE, head, judge, with};

#[test]
fn a_header_line_that_is_broken_breaks_the_head_wherever_it_stands() {
    let mut cases = Vec::new();
    for (what, line) in BROKEN {
        for (place, lines) in [
            ("first", [*line, HOST, "X-A: b"]),
            ("between", [HOST, *line, "X-A: b"]),
            ("last", [HOST, "X-A: b", *line]),
        ] {
            cases.push(Case::bad(format!("{what}, {place}"), head(LINE, &lines)));
        }
    }
    judge(102, cases);
}

#[test]
fn a_byte_that_belongs_in_no_header_breaks_the_head() {
    let mut cases = Vec::new();
    for byte in (0..=0x08).chain(0x0a..=0x1f).chain([0x7f]) {
        let value = [b"X-A: a".as_slice(), &[byte], b"b"].concat();
        cases.push(Case::bad(format!("{byte:#04x} in a value"), with_bytes(&value)));
        let value = [b"X-A:".as_slice(), &[byte], b"b"].concat();
        cases.push(Case::bad(format!("{byte:#04x} before a value"), with_bytes(&value)));
    }
    for byte in (0..=0x20).chain(b"\"(),/;<=>?@[\\]{}".iter().copied()).chain([0x7f, 0x80, 0xe9, 0xff]) {
        let name = [b"X-".as_slice(), &[byte], b"A: b"].concat();
        cases.push(Case::bad(format!("{byte:#04x} in a name"), with_bytes(&name)));
    }
    judge(117, cases);
}

#[test]
fn a_line_end_that_is_not_cr_lf_breaks_the_head() {
    let good = with(&["X-A: b"]);
    let changed = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        changed
    };
    judge(
        16,
        [
            Case::bad("LF after the request line", changed("\r\n", "\n")),
            Case::bad("LF after the first header", changed("localhost\r\n", "localhost\n")),
            Case::bad("LF after the last header", changed("b\r\n", "b\n")),
            Case::bad("LF for the last line", changed("\r\n\r\n", "\r\n\n")),
            Case::bad("LF LF for the last two", changed("\r\n\r\n", "\n\n")),
            Case::bad("LF CR LF for the last two", changed("\r\n\r\n", "\n\r\n")),
            Case::bad("LF throughout", good.replace("\r\n", "\n")),
            Case::bad("CR after a header", changed("localhost\r\n", "localhost\r")),
            Case::bad("CR throughout and a good end", good.trim_end().replace("\r\n", "\r") + "\r\n\r\n"),
            Case::bad("CR CR LF", changed("b\r\n", "b\r\r\n")),
            Case::bad("LF CR", changed("localhost\r\n", "localhost\n\r")),
            Case::bad("a form feed", changed("localhost\r\n", "localhost\x0c\r\n")),
            Case::bad("a vertical tab", changed("localhost\r\n", "localhost\x0b\r\n")),
            Case::bad("a header behind a CR", changed("b\r\n", "b\rTransfer-Encoding: chunked\r\n")),
            Case::bad("a header behind a LF", changed("b\r\n", "b\nTransfer-Encoding: chunked\r\n")),
            Case::bad("a next line of Unicode", changed("X-A", "\u{85}X-A")),
        ],
    );
}

#[test]
fn what_is_odd_and_in_order_is_ignored() {
    let mut cases: Vec<Case> = ODD.iter().map(|line| Case::harmless(*line, with(&[line]))).collect();
    cases.push(Case::harmless("bytes above ASCII in a value", with_bytes(b"X-A: \x80\xe9\xff")));
    cases.push(Case::harmless("one name ten times", with(&["X-A: b"; 10])));
    cases.push(Case::harmless("white space round a Host", head(LINE, &["Host: \t localhost \t "])));
    cases.push(Case::harmless("no white space before a Host", head(LINE, &["Host:localhost"])));
    cases.push(Case::harmless("a Host in upper case", head(LINE, &["HOST: LOCALHOST"])));
    judge(31, cases);
}

fn with_bytes(line: &[u8]) -> Vec<u8> {
    [format!("{LINE}\r\n{HOST}\r\n").as_bytes(), line, b"\r\n\r\n"].concat()
}

pub(super) const BROKEN: &[(&str, &str)] = &[
    ("no colon", "nonsense"),
    ("no name", ": b"),
    ("a colon only", ":"),
    ("a space only", " "),
    ("a tab only", "\t"),
    ("a space before the name", " X-B: c"),
    ("a tab before the name", "\tX-B: c"),
    ("a space before the colon", "X-B : c"),
    ("a tab before the colon", "X-B\t: c"),
    ("a space within the name", "X B: c"),
    ("a quoted name", "\"X-B\": c"),
    ("a name in brackets", "[X-B]: c"),
    ("a name with a slash", "X/B: c"),
    ("a name of no alphabet", "X-\u{e9}: c"),
    ("a folded value", "X-B: c\r\n d"),
    ("a value folded by a tab", "X-B: c\r\n\td"),
    ("a value that is all folded", "X-B:\r\n c"),
    ("an empty fold", "X-B: c\r\n \r\n d"),
    ("a folded Transfer-Encoding", "Transfer-Encoding:\r\n chunked"),
    ("a folded Content-Length", "Content-Length:\r\n 0"),
    ("a space before the colon of a length", "Content-Length : 0"),
    ("a space before the colon of a coding", "Transfer-Encoding : chunked"),
    ("a tab before the colon of a coding", "Transfer-Encoding\t: chunked"),
    ("a NUL within a coding", "Transfer-Encoding: chun\0ked"),
    ("a NUL behind a coding's name", "Transfer-Encoding\0: chunked"),
    ("a carriage return within a value", "X-B: c\rd"),
    ("a line feed within a value", "X-B: c\nd"),
    ("a request line", "DELETE / HTTP/1.1"),
    ("a status line", "HTTP/1.1 200 OK"),
    ("a second colon in place of a name", ":: b"),
    ("an escape of a line end", "X%0d%0aB c"),
    ("a header without a name and a length", ": Content-Length: 5"),
    ("a byte order mark", "\u{feff}X-B: c"),
    ("a line in quotes", "\"Content-Length: 5\""),
];

const ODD: &[&str] = &[
    "X-A:",
    "X-A: ",
    "X-A:b",
    "X-A: \t b \t ",
    "X-A: a:b:c",
    "X-A: \"b",
    "X-A: %0d%0aX-Evil: 1",
    "X-A: \\r\\nX-Evil: 1",
    "x-a: b",
    "X-a-B-c: d",
    "!#$%&'*+.^_`|~0: every other letter of a name",
    "0: a digit for a name",
    "X: a letter for a name",
    "Accept: text/html",
    "Accept-Encoding: gzip, br",
    "Accept-Language: de",
    "User-Agent: evil/1.0",
    "Content-Type: application/json",
    "Content-Length: 0",
    "Range: bytes=0-",
    "If-Match: \"x\"",
    "Cookie: session=1",
    "Referer: http://evil.example/",
    "Max-Forwards: 0",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    "Cache-Control: no-cache",
];
