//! Recognises request heads: bytes are a complete head, a fault, or unfinished. Pure and synchronous.
//!
//! It is strict where parsers are lenient. `httparse` reads the tokens, after checks of our own on the bytes: lines end in
//! CR LF only, the target is printable ASCII in origin form, and the framing is unambiguous. Only methods for which some
//! operation takes a body may announce one. `Host` and the meaning of other headers are judged by the `receive` stage.

use std::mem::{MaybeUninit, replace};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH},
    request::Parts,
    uri::PathAndQuery,
};
use httparse::Status;
use memchr::memchr3;

use crate::{
    config::Limits,
    operation::CATALOGUE,
    reason::Reason,
    stage::{Refusal, canonical},
};

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Method, target, version and headers. Boxed, because the stages hand it on.
    pub parts: Box<Parts>,
    /// Whether it is the connection's last request: it said `Connection: close`, or is HTTP/1.0.
    pub is_last: bool,
    /// What it declares of its body. `None` if no operation with its method takes one.
    pub body: Option<DeclaredBody>,
}

/// The declaration of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeclaredBody {
    /// Its `Content-Length`, if present.
    pub length: Option<usize>,
    /// Whether the caller waits for `100 Continue`.
    pub is_waited_for: bool,
}

/// Why a head is not accepted.
#[derive(Debug)]
pub struct HeadFault {
    /// The refusal that the caller gets.
    pub refusal: Refusal,
    /// Whether the method is HEAD, whose answer has no body.
    pub is_head: bool,
}

/// Recognises the heads of one connection in turn.
#[derive(Clone, Debug)]
pub struct Recogniser {
    max_bytes: usize,
    max_headers: usize,
    /// How many bytes have been examined.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// The number of complete lines: the request line and headers.
    lines: usize,
}

impl Recogniser {
    /// Creates a recogniser with these limits.
    pub fn new(limits: &Limits) -> Self {
        Self { max_bytes: limits.header_bytes, max_headers: limits.headers, seen: 0, line: 0, lines: 0 }
    }

    /// Takes the head at the beginning of these bytes. Returns `None` if it is incomplete and more bytes are needed.
    ///
    /// # Errors
    /// If the head is not acceptable. The bytes after it cannot be trusted and must not be read.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, HeadFault> {
        let Some(end) = self.end(bytes).map_err(|refusal| HeadFault::of(bytes, refusal))? else {
            return Ok(None);
        };
        (self.seen, self.line, self.lines) = (0, 0, 0);
        let head = bytes.split_to(end).freeze();
        parse(&head, self.max_headers).map(Some).map_err(|refusal| HeadFault::of(&head, refusal))
    }

    /// Whether a head has begun and is unfinished. Empty lines before it do not count.
    pub fn has_begun(&self) -> bool {
        self.lines > 0 || self.seen > self.line
    }

    /// Returns where the head ends. The first fault decides, so it makes no difference how the bytes are split into reads.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let within = bytes.get(..self.max_bytes).unwrap_or(bytes);
        let mut rest = within.get(self.seen..).unwrap_or_default();
        while let Some(at) = memchr3(b'\r', b'\n', 0, rest) {
            self.seen += at;
            match rest.get(at..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {}
                [b'\r'] => return self.wait(within.len()),
                [b'\r', ..] => return Err(Refusal::BadRequest(Reason::BareCr)),
                [b'\n', ..] => return Err(Refusal::BadRequest(Reason::BareLf)),
                _ => return Err(Refusal::BadRequest(Reason::NulInHead)),
            }
            let is_empty = self.seen == self.line;
            self.seen += 2;
            self.line = self.seen;
            match (is_empty, self.lines) {
                // Empty lines before a head are skipped (RFC 9112, section 2.2).
                (true, 0) => {}
                (true, _) => return Ok(Some(self.seen)),
                (false, lines) if lines > self.max_headers => return Err(Refusal::HeadersTooLarge),
                (false, _) => self.lines += 1,
            }
            rest = within.get(self.seen..).unwrap_or_default();
        }
        self.seen = within.len();
        self.wait(within.len())
    }

    fn wait(&self, length: usize) -> Result<Option<usize>, Refusal> {
        match self.lines {
            _ if length < self.max_bytes => Ok(None),
            0 => Err(Refusal::TargetTooLong),
            _ => Err(Refusal::HeadersTooLarge),
        }
    }
}

impl HeadFault {
    /// The fault of a head that begins with these bytes.
    pub(super) fn of(bytes: &[u8], refusal: Refusal) -> Self {
        let line = bytes.iter().position(|byte| !b"\r\n".contains(byte)).and_then(|at| bytes.get(at..));
        Self { refusal, is_head: line.is_some_and(|line| line.starts_with(b"HEAD ")) }
    }
}

/// Parses a complete head, with the empty lines before it.
fn parse(head: &Bytes, max_headers: usize) -> Result<Head, Refusal> {
    let (mut few, mut many) = ([MaybeUninit::uninit(); INLINE_HEADERS], Vec::new());
    let room = if max_headers <= INLINE_HEADERS {
        few.get_mut(..max_headers).unwrap_or_default()
    } else {
        many.resize(max_headers, MaybeUninit::uninit());
        many.as_mut_slice()
    };
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, room) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::BadRequest(Reason::AmbiguousHead)),
        Err(httparse::Error::Version) => return Err(Refusal::BadRequest(Reason::HttpVersion)),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadersTooLarge),
        Err(_) => return Err(UNREADABLE),
    }
    let mut parts = Box::new(Request::new(()).into_parts().0);
    parts.method =
        Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| UNREADABLE)?;
    parts.uri = target(head, request.path.unwrap_or_default())?;
    parts.version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.headers.reserve(request.headers.len());
    let mut framing =
        Framing { body: has_body(&parts.method).then(DeclaredBody::default), ..Framing::default() };
    for field in &*request.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| UNREADABLE)?;
        framing.field(&name, field.value)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| UNREADABLE)?;
        parts.headers.append(name, value);
    }
    let is_old = parts.version == Version::HTTP_10;
    // An HTTP/1.0 client does not know `100 Continue`.
    framing.body.iter_mut().for_each(|body| body.is_waited_for &= !is_old);
    Ok(Head { is_last: framing.closes || is_old, parts, body: framing.body })
}

/// Parses the target in origin form (RFC 9112, section 3.2.1) from the raw text: `Uri` would drop a fragment, and accept an
/// authority that contradicts `Host`.
fn target(head: &Bytes, text: &str) -> Result<Uri, Refusal> {
    if !text.starts_with('/') {
        return Err(Refusal::BadRequest(Reason::TargetForm));
    }
    if !text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#') {
        return Err(Refusal::BadRequest(Reason::TargetCharacter));
    }
    let target = PathAndQuery::from_maybe_shared(head.slice_ref(text.as_bytes()));
    Ok(Uri::from(target.map_err(|_| Refusal::BadRequest(Reason::TargetCharacter))?))
}

/// What the headers say about the end of the request and of the connection.
#[derive(Default)]
struct Framing {
    has_length: bool,
    closes: bool,
    body: Option<DeclaredBody>,
}

/// Whether some operation with this method takes a body.
fn has_body(method: &Method) -> bool {
    CATALOGUE.iter().any(|row| row.has_body && row.method == method.as_str())
}

impl Framing {
    /// Reads a header, with `_` taken as `-`, as servers behind us may do.
    fn field(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Refusal> {
        let fault = match canonical(name).as_ref() {
            "content-length" if replace(&mut self.has_length, true) => Reason::SeveralLengths,
            // Servers disagree about `Content_Length`.
            "content-length" if self.body.is_some() && *name != CONTENT_LENGTH => Reason::BadLength,
            "content-length" => match (length(value), &mut self.body) {
                (None, _) => Reason::BadLength,
                (length, Some(body)) => {
                    body.length = length;
                    return Ok(());
                }
                (Some(0), None) => return Ok(()),
                (Some(_), None) => Reason::BodyNotAllowed,
            },
            "transfer-encoding" => Reason::TransferEncoding,
            "trailer" => Reason::Trailer,
            "content-encoding" => Reason::ContentEncoding,
            // Without a body there is nothing to continue.
            "expect" if value.eq_ignore_ascii_case(b"100-continue") => {
                self.body.iter_mut().for_each(|body| body.is_waited_for = true);
                return Ok(());
            }
            "expect" => Reason::Expect,
            _ if name == CONNECTION => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.closes |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
                return Ok(());
            }
            _ => return Ok(()),
        };
        Err(Refusal::BadRequest(fault))
    }
}

/// Parses a `Content-Length`: 1 to 7 digits, no sign, list or leading zero.
fn length(value: &[u8]) -> Option<usize> {
    let plain = (1..=7).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let leads = value.len() > 1 && value.starts_with(b"0");
    std::str::from_utf8(value).ok().filter(|_| plain && !leads)?.parse().ok()
}

/// The number of headers that are parsed without an allocation.
const INLINE_HEADERS: usize = 64;
const UNREADABLE: Refusal = Refusal::BadRequest(Reason::NotHttp);

#[cfg(test)]
mod tests;
