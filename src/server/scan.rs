//! Where does a head end, and can it be read in one way only? Heads as the specification writes them, byte by byte.
//!
//! hyper accepts some heads that two servers may read differently and then hides the difference: bare line feeds, a
//! `#` in the target, a second length. This notices them, and says where a head ends, so that hyper is given one at
//! a time. No request has a body, so all bytes of a connection are heads. It does not know what a header means.

use memchr::{memchr, memchr3_iter};

/// One head, read as its bytes come.
#[derive(Default)]
pub struct Scan {
    /// Bytes so far.
    bytes: usize,
    /// Lines that are over.
    lines: usize,
    /// Bytes of the line so far.
    line: usize,
    after_cr: bool,
    /// The line may still be a `Content-Length` header.
    length: bool,
    /// `Content-Length` headers so far.
    lengths: usize,
    whole: bool,
    fault: Option<&'static str>,
}

impl Scan {
    /// Reads on, to the end of the head and no further. Returns how many bytes of it these are: with a fault, all.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.whole {
            self.fault(NOT_WHOLE);
        }
        let read = self.read(bytes);
        self.bytes += read;
        read
    }

    fn read(&mut self, bytes: &[u8]) -> usize {
        let mut read = 0;
        for at in memchr3_iter(b'\r', b'\n', 0, bytes) {
            self.text(bytes.get(read..at).unwrap_or_default());
            read = at + 1;
            match bytes.get(at) {
                Some(b'\r') if !self.after_cr => {
                    self.after_cr = true;
                    continue;
                }
                Some(b'\r') => self.fault(BARE_CR),
                Some(b'\n') if self.after_cr => self.end_line(),
                Some(b'\n') => self.fault(BARE_LF),
                _ => self.fault(NUL),
            }
            self.after_cr = false;
            if self.is_whole() {
                return read;
            }
        }
        self.text(bytes.get(read..).unwrap_or_default());
        bytes.len()
    }

    /// Whether a head has begun and is not over. An empty line before it is not its beginning.
    pub(super) fn is_partial(&self) -> bool {
        !self.whole && (self.lines > 0 || self.line > 0 || self.after_cr || self.fault.is_some())
    }

    /// Whether more bytes change nothing: it is over, broken, or has too many.
    pub(super) fn is_settled(&self, header_bytes: usize) -> bool {
        self.whole || self.fault.is_some() || self.bytes >= header_bytes
    }

    /// Whether its first line is not over.
    pub(super) fn is_request_line(&self) -> bool {
        self.lines == 0
    }

    /// What is wrong with the head, which a parser took for whole.
    pub fn verdict(&self) -> Option<&'static str> {
        self.fault.or((!self.whole).then_some(NOT_WHOLE))
    }

    /// The first thing that is wrong with it so far.
    pub(super) fn first_fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Whether it is larger than this many bytes, or has more headers.
    pub(super) fn exceeds(&self, bytes: usize, headers: usize) -> bool {
        !self.whole || self.bytes > bytes || self.lines.saturating_sub(1) > headers
    }

    fn is_whole(&self) -> bool {
        self.whole && self.fault.is_none()
    }

    /// Reads a part of a line that has no line ends.
    fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.after_cr {
            self.fault(BARE_CR);
            self.after_cr = false;
        }
        if self.is_request_line() {
            if memchr(b'#', text).is_some() {
                self.fault(FRAGMENT);
            }
        } else if self.length {
            self.length_name(text);
        }
        self.line += text.len();
    }

    /// Counts `Content-Length` headers: hyper makes one of two that are equal.
    fn length_name(&mut self, text: &[u8]) {
        let expected = LENGTH.get(self.line..).unwrap_or_default();
        let common = expected.len().min(text.len());
        self.length = match (text.get(..common), expected.get(..common)) {
            (Some(text), Some(expected)) => text.eq_ignore_ascii_case(expected),
            _ => false,
        };
        if self.length && common == expected.len() {
            self.length = false;
            self.lengths += 1;
            if self.lengths > 1 {
                self.fault(LENGTHS);
            }
        }
    }

    /// An empty line ends a head; before a head it is skipped (RFC 9112, section 2.2).
    fn end_line(&mut self) {
        if self.line > 0 {
            self.lines += 1;
        } else if self.lines > 0 {
            self.whole = true;
        }
        self.line = 0;
        self.length = true;
    }

    /// The first fault stays: where a head cannot be trusted, what follows it cannot be either.
    fn fault(&mut self, what: &'static str) {
        self.fault.get_or_insert(what);
    }
}

const LENGTH: &[u8] = b"content-length:";
const LENGTHS: &str = "more than one Content-Length header";
const BARE_LF: &str = "a line of the head ends without a carriage return";
const BARE_CR: &str = "the head has a carriage return that ends no line";
const FRAGMENT: &str = "the request target has a `#`";
const NUL: &str = "the head has a NUL";
/// hyper and this have found its end in two places.
const NOT_WHOLE: &str = "the head can be read in more than one way";

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a head that arrives at once, and byte by byte; and how many bytes it had.
    fn scanned(bytes: &[u8]) -> (Scan, usize) {
        let mut at_once = Scan::default();
        let read = at_once.feed(bytes);
        let mut by_byte = Scan::default();
        let mut count = 0;
        for byte in bytes.chunks(1) {
            if by_byte.is_whole() {
                break;
            }
            count += by_byte.feed(byte);
        }
        let facts = |scan: &Scan| (scan.fault, scan.whole, scan.is_partial(), scan.is_request_line());
        assert_eq!((facts(&at_once), read), (facts(&by_byte), count), "{}", bytes.escape_ascii());
        (at_once, read)
    }

    #[test]
    fn a_clean_head_is_read_to_its_end_and_no_further() {
        for head in [
            "DELETE /v2/p HTTP/1.1\r\nHost: h\r\n\r\n",
            "\r\n\r\nDELETE / HTTP/1.1\r\nX: a#b\r\n\r\n",
            "DELETE / HTTP/1.1\r\nContent-Length: 0\r\nX: content-length:\r\nContent-Lengths: 0\r\n\r\n",
        ] {
            for rest in ["", "D", "DELETE / HTTP/1.1\r\n\r\n", "\n\r\0#"] {
                let (scan, read) = scanned(format!("{head}{rest}").as_bytes());
                assert_eq!((scan.verdict(), read, scan.is_partial()), (None, head.len(), false));
            }
        }
    }

    #[test]
    fn a_part_of_a_head_is_not_whole() {
        for (part, partial) in [
            ("", false),
            ("\r\n", false),
            ("\r", true),
            ("DEL", true),
            ("DELETE / HTTP/1.1\r\n", true),
            ("DELETE / HTTP/1.1\r\nHost: h\r\n", true),
            ("DELETE / HTTP/1.1\r\nHost: h\r\n\r", true),
        ] {
            let (scan, _) = scanned(part.as_bytes());
            assert_eq!((scan.is_partial(), scan.first_fault()), (partial, None), "{part:?}");
            assert_eq!(scan.verdict(), Some(NOT_WHOLE), "{part:?}");
        }
    }

    #[test]
    fn what_two_servers_may_read_differently_is_a_fault() {
        for (bytes, fault) in [
            (&b"DELETE / HTTP/1.1\nHost: h\r\n\r\n"[..], BARE_LF),
            (b"DELETE / HTTP/1.1\r\nHost: h\n\r\n", BARE_LF),
            (b"DELETE / HTTP/1.1\r\nHost: h\r\n\n", BARE_LF),
            (b"\nDELETE / HTTP/1.1\r\nHost: h\r\n\r\n", BARE_LF),
            (b"DELETE / HTTP/1.1\rHost: h\r\n\r\n", BARE_CR),
            (b"DELETE / HTTP/1.1\r\r\n", BARE_CR),
            (b"DELETE / HTTP/1.1\r\0", NUL),
            (b"DELETE /a#b HTTP/1.1\r\n\r\n", FRAGMENT),
            (b"\r\nDELETE /a#b HTTP/1.1\r\n\r\n", FRAGMENT),
            (b"DELETE / HTTP/1.1\r\nX: a\0b\r\n\r\n", NUL),
            (b"DELETE / HTTP/1.1\r\nContent-Length: 0\r\nA: b\r\ncontent-lengTH:0\r\n\r\n", LENGTHS),
        ] {
            let (scan, read) = scanned(bytes);
            assert_eq!((scan.verdict(), read), (Some(fault), bytes.len()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn bytes_behind_a_whole_head_that_a_parser_still_asks_for_are_a_fault() {
        let mut scan = Scan::default();
        assert_eq!(scan.feed(b"DELETE / HTTP/1.1\r\n\r\n"), 21);
        assert_eq!(scan.verdict(), None);
        assert_eq!(scan.feed(b"X"), 1);
        assert_eq!(scan.verdict(), Some(NOT_WHOLE));
    }
}
