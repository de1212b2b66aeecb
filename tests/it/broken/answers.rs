//! Broken and odd upstream answers, each with its expected result.

use std::{thread::sleep, time::Duration};

use Expected::{Cut, Malformed, Nothing, Passed, TooLarge, Unanswered};

use crate::harness::Peer;

/// A way to answer.
pub(crate) struct Misbehaviour {
    pub(crate) name: &'static str,
    pub(crate) expected: Expected,
    pub(crate) play: Play,
}

/// The answer to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The answer, with this status.
    Passed(u16),
    /// 502: the answer cannot be read.
    Malformed,
    /// 502: the answer was cut off.
    Cut,
    /// 502: the answer is too long.
    TooLarge,
    /// 502: no answer came.
    Nothing,
    /// 504.
    Unanswered,
    /// 502: no connection, so nothing was sent. With the error type of `Proxy-Status`.
    Unreachable(&'static str),
    /// 502: either no connection or no answer, as the connection closed at the same moment.
    Slammed,
}

pub(crate) enum Play {
    /// Writes this, with the job's own request id for `{id}`, and closes; or continues, if the answer is passed on.
    Text(&'static str),
    /// Returns whether the connection stays open.
    Script(fn(&mut Peer, &Asked) -> bool),
}

/// A request as seen by the script.
pub(crate) struct Asked {
    pub(crate) head: String,
    /// The expected `X-Request-Id` of the answer.
    pub(crate) id: String,
    /// Whether the same job was requested before.
    pub(crate) again: bool,
}

impl Misbehaviour {
    /// Does it once. Returns whether the connection stays open.
    pub(crate) fn play(&self, peer: &mut Peer, asked: &Asked) -> bool {
        match self.play {
            Play::Text(text) => {
                peer.write(text.replace("{id}", &asked.id));
                matches!(self.expected, Passed(_))
            }
            Play::Script(script) => script(peer, asked),
        }
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Misbehaviour> {
    let texts = TEXTS.iter().map(|(name, expected, text)| (*name, *expected, Play::Text(text)));
    let scripts = SCRIPTS.iter().map(|(name, expected, script)| (*name, *expected, Play::Script(*script)));
    texts.chain(scripts).map(|(name, expected, play)| Misbehaviour { name, expected, play }).collect()
}

const TEXTS: &[(&str, Expected, &str)] = &[
    // No final answer.
    ("301", Malformed, "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    ("302", Malformed, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    ("304", Malformed, "HTTP/1.1 304 Same\r\nX-Request-Id: {id}\r\n\r\n"),
    ("307", Malformed, "HTTP/1.1 307 Again\r\nLocation: /v2/other\r\nContent-Length: 0\r\n\r\n"),
    ("308", Malformed, "HTTP/1.1 308 For ever\r\nLocation: /v2/other\r\nContent-Length: 0\r\n\r\n"),
    ("101", Malformed, "HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
    // Not HTTP/1.
    ("garbage", Malformed, "\x16\x03\x01 this is not HTTP\r\n\r\n"),
    ("another protocol", Malformed, "SSH-2.0-OpenSSH_9.6\r\n"),
    ("HTTP/0.9", Malformed, "<html>done</html>"),
    ("HTTP/2 in words", Malformed, "HTTP/2 204\r\nx-request-id: {id}\r\n\r\n"),
    ("the preface of HTTP/2", Malformed, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("frames of HTTP/2", Malformed, "\0\0\x12\x04\0\0\0\0\0"),
    ("lower case", Malformed, "http/1.1 204 No Content\r\n\r\n"),
    // Invalid status lines.
    ("no status", Malformed, "HTTP/1.1\r\n\r\n"),
    ("status 000", Malformed, "HTTP/1.1 000 None\r\n\r\n"),
    ("status 99", Malformed, "HTTP/1.1 99 Low\r\n\r\n"),
    ("status 600", Malformed, "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n"),
    ("status 1000", Malformed, "HTTP/1.1 1000 Higher\r\n\r\n"),
    ("status 2O4", Malformed, "HTTP/1.1 2O4 No Content\r\n\r\n"),
    // Invalid headers.
    ("a header without a colon", Malformed, "HTTP/1.1 204 No\r\nnonsense\r\n\r\n"),
    ("a space before the colon", Malformed, "HTTP/1.1 204 No\r\nContent-Length : 0\r\n\r\n"),
    ("a header that goes on", Malformed, "HTTP/1.1 204 No\r\nX-One: a\r\n  b\r\n\r\n"),
    ("NUL", Malformed, "HTTP/1.1 204 No\r\nX-One: a\0b\r\n\r\n"),
    ("a carriage return alone", Malformed, "HTTP/1.1 204 No\r\nX-One: a\rX-Two: b\r\n\r\n"),
    // Wrong or ambiguous framing.
    ("two lengths", Malformed, "HTTP/1.1 400 A\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("a length below nothing", Malformed, "HTTP/1.1 400 A\r\nContent-Length: -1\r\n\r\n"),
    ("a length with a sign", Malformed, "HTTP/1.1 400 A\r\nContent-Length: +1\r\n\r\na"),
    ("a length of words", Malformed, "HTTP/1.1 400 A\r\nContent-Length: one\r\n\r\na"),
    ("a length beyond all", Malformed, "HTTP/1.1 400 A\r\nContent-Length: 99999999999999999999\r\n\r\na"),
    (
        "a length and chunks",
        Malformed,
        "HTTP/1.1 400 A\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("gzip for the way", Malformed, "HTTP/1.1 400 A\r\nTransfer-Encoding: gzip\r\n\r\nx"),
    (
        "gzip in chunks for the way",
        Malformed,
        "HTTP/1.1 400 A\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks twice",
        Malformed,
        "HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunks in HTTP/1.0", Malformed, "HTTP/1.0 400 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a chunk of no size", Cut, "HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"),
    (
        "a chunk that is longer",
        Cut,
        "HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ),
    // Incomplete.
    ("half a status line", Cut, "HTTP/1.1 20"),
    ("half a head", Cut, "HTTP/1.1 204 No Content\r\nX-Requ"),
    ("half a body", Cut, "HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{\"error"),
    ("half a chunk", Cut, "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
    ("no last chunk", Cut, "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
    ("nothing", Nothing, ""),
    // Odd, but clear.
    ("no reason", Passed(204), "HTTP/1.1 204\r\nX-Request-Id: {id}\r\n\r\n"),
    ("line feeds alone", Passed(204), "HTTP/1.1 204 No\nX-Request-Id: {id}\n\n"),
    ("HTTP/1.0", Passed(204), "HTTP/1.0 204 No\r\nX-Request-Id: {id}\r\n\r\n"),
    (
        "the same length twice",
        Passed(400),
        "HTTP/1.1 400 A\r\nX-Request-Id: {id}\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    (
        "100 before it",
        Passed(204),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nX-Request-Id: {id}\r\n\r\n",
    ),
    (
        "hints before it",
        Passed(400),
        "HTTP/1.1 103 Early\r\nX-Request-Id: other\r\n\r\n\
         HTTP/1.1 400 A\r\nX-Request-Id: {id}\r\nContent-Length: 0\r\n\r\n",
    ),
    // More than one answer: the rest must not answer the next call.
    (
        "a body where none can be",
        Passed(204),
        "HTTP/1.1 204 No\r\nX-Request-Id: {id}\r\nContent-Length: 31\r\n\r\nHTTP/1.1 204 No\r\nX-Forged: 1\r\n\r\n",
    ),
    (
        "two answers",
        Passed(204),
        "HTTP/1.1 204 No\r\nX-Request-Id: {id}\r\n\r\nHTTP/1.1 204 No\r\nX-Request-Id: forged\r\n\r\n",
    ),
    (
        "a length that is too short",
        Passed(400),
        "HTTP/1.1 400 A\r\nX-Request-Id: {id}\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 204 No\r\n\r\n",
    ),
    (
        "something behind the last chunk",
        Passed(400),
        "HTTP/1.1 400 A\r\nX-Request-Id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    ),
    ("an empty line behind it", Passed(204), "HTTP/1.1 204 No\r\nX-Request-Id: {id}\r\n\r\n\r\n"),
];

type Script = fn(&mut Peer, &Asked) -> bool;

const SCRIPTS: &[(&str, Expected, Script)] = &[
    ("a large head", Malformed, |peer, _| {
        peer.write(format!("HTTP/1.1 204 No\r\nX-One: {}\r\n\r\n", "x".repeat(100_000)));
        false
    }),
    ("101 headers", Malformed, |peer, _| {
        peer.write(format!("HTTP/1.1 204 No\r\n{}\r\n", "X: 1\r\n".repeat(101)));
        false
    }),
    ("a head without end", Malformed, |peer, _| {
        peer.write("HTTP/1.1 204 No\r\n");
        while peer.write("X-One: 1\r\n".repeat(100)) {}
        false
    }),
    ("a long body", TooLarge, |peer, _| {
        peer.write(format!("HTTP/1.1 400 A\r\nContent-Length: {}\r\n\r\n{}", LONG, "x".repeat(LONG)));
        false
    }),
    ("a long body in chunks", TooLarge, |peer, _| {
        let chunks = format!("{LONG:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(LONG));
        peer.write(format!("HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        false
    }),
    ("a long body to the end", TooLarge, |peer, _| {
        peer.write(format!("HTTP/1.1 400 A\r\n\r\n{}", "x".repeat(LONG)));
        false
    }),
    ("a body without end", TooLarge, |peer, _| {
        peer.write("HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\n");
        while peer.write(format!("400\r\n{}\r\n", "x".repeat(0x400))) {}
        false
    }),
    ("reset before the head", Nothing, |peer, _| {
        peer.reset_at_end();
        false
    }),
    ("reset within the body", Cut, |peer, _| {
        peer.write("HTTP/1.1 400 A\r\nContent-Length: 100\r\n\r\n{");
        sleep(A_MOMENT);
        peer.reset_at_end();
        false
    }),
    ("silence", Unanswered, |peer, _| {
        peer.wait_until_closed();
        false
    }),
    ("half a head, and silence", Unanswered, |peer, _| {
        peer.write("HTTP/1.1 204 No Content\r\nX-Requ");
        peer.wait_until_closed();
        false
    }),
    ("half a body, and silence", Unanswered, |peer, _| {
        peer.write("HTTP/1.1 400 A\r\nContent-Length: 10\r\n\r\n{");
        peer.wait_until_closed();
        false
    }),
    ("half a chunk, and silence", Unanswered, |peer, _| {
        peer.write("HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{");
        peer.wait_until_closed();
        false
    }),
    ("a head byte by byte", Unanswered, |peer, asked| {
        drip(peer, &format!("HTTP/1.1 204 No\r\nX-Request-Id: {}\r\nX-One: {}", asked.id, "x".repeat(9999)));
        false
    }),
    ("a body byte by byte", Unanswered, |peer, _| {
        peer.write("HTTP/1.1 400 A\r\nContent-Length: 9999\r\n\r\n");
        drip(peer, &"x".repeat(9999));
        false
    }),
    ("100 without end", Unanswered, |peer, _| {
        while peer.write("HTTP/1.1 100 Continue\r\n\r\n") {
            sleep(A_MOMENT);
        }
        false
    }),
    ("hints without end", Unanswered, |peer, _| {
        while peer.write("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n".repeat(100)) {
            sleep(A_MOMENT);
        }
        false
    }),
    ("closed behind the answer", Passed(204), |peer, asked| {
        peer.write(format!("HTTP/1.1 204 No\r\nX-Request-Id: {}\r\n\r\n", asked.id));
        false
    }),
    ("reset behind the answer", Passed(204), |peer, asked| {
        peer.write(format!("HTTP/1.1 204 No\r\nX-Request-Id: {}\r\n\r\n", asked.id));
        sleep(A_MOMENT);
        peer.reset_at_end();
        false
    }),
    ("close announced and not done", Passed(204), |peer, asked| {
        let head = format!("HTTP/1.1 204 No\r\nConnection: close\r\nX-Request-Id: {}\r\n\r\n", asked.id);
        peer.write(head);
        peer.wait_until_closed();
        false
    }),
    ("a body to the end", Passed(500), |peer, asked| {
        peer.write(format!("HTTP/1.1 500 Oh\r\nX-Request-Id: {}\r\n\r\n{{}}", asked.id));
        false
    }),
    ("a credential repeated", Passed(401), |peer, asked| {
        let line =
            |head: &str| head.lines().find(|line| line.starts_with("authorization")).map(str::to_owned);
        let body = line(&asked.head).unwrap();
        let (id, length) = (&asked.id, body.len());
        peer.write(format!(
            "HTTP/1.1 401 No\r\nX-Request-Id: {id}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        true
    }),
    ("busy, and then not", Passed(204), |peer, asked| {
        let first = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_owned();
        let then = format!("HTTP/1.1 204 No\r\nX-Request-Id: {}\r\n\r\n", asked.id);
        peer.write(if asked.again { then } else { first });
        true
    }),
];

/// Writes bytes within every time-out for one byte, but not all within that for an answer.
fn drip(peer: &mut Peer, text: &str) {
    for byte in text.bytes() {
        if !peer.write([byte]) {
            return;
        }
        sleep(A_MOMENT);
    }
}

const A_MOMENT: Duration = Duration::from_millis(2);
/// One byte more than the proxy passes on.
const LONG: usize = 64 * 1024 + 1;
