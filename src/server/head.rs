//! The recogniser of request heads: bytes become one head, or a fault, or wait for more. Pure and synchronous.
//!
//! It is exact where parsers forgive. `httparse` reads the tokens, behind rules of our own for bytes: lines end in CR LF
//! and nowhere else, the target is printable ASCII in origin form, and what frames a request can be read in one way only.
//! Only methods by which some operation has a body may announce one. Which host a request is for, and what its headers mean
//! otherwise, is the `receive` stage's to judge.

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

/// A request's head, which is the whole request unless a body may follow it.
#[derive(Debug)]
pub struct Head {
    /// Method, target, version and headers. In a box, because it is handed on from stage to stage.
    pub parts: Box<Parts>,
    /// The caller sends no request after it, or may not: it said `Connection: close`, or speaks HTTP/1.0.
    pub is_last: bool,
    /// What it says of its body. `None` where no operation of its method has one.
    pub body: Option<DeclaredBody>,
}

/// What a head says of the body behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeclaredBody {
    /// How many bytes it has, where that is said.
    pub length: Option<usize>,
    /// Whether its caller waits to be told to send it.
    pub is_waited_for: bool,
}

/// Why bytes are no head that can be accepted.
#[derive(Debug)]
pub struct HeadFault {
    /// As it is told.
    pub refusal: Refusal,
    /// Whether it would have been a HEAD, whose answer has no body.
    pub is_head: bool,
}

/// Recognises the heads of one connection, one after the other.
#[derive(Clone, Debug)]
pub struct Recogniser {
    max_bytes: usize,
    max_headers: usize,
    /// How far the bytes were looked at.
    seen: usize,
    /// Where the line that is not over begins.
    line: usize,
    /// Lines that are over: the request line, and headers.
    lines: usize,
}

impl Recogniser {
    /// Recognises heads within these limits.
    pub fn new(limits: &Limits) -> Self {
        Self { max_bytes: limits.header_bytes, max_headers: limits.headers, seen: 0, line: 0, lines: 0 }
    }

    /// Takes the head that these bytes begin with. `None` where it is not complete: then more bytes are to be added.
    ///
    /// # Errors
    /// Where it is no request that can be accepted. What follows cannot be trusted, and is not to be read.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, HeadFault> {
        let Some(end) = self.end(bytes).map_err(|refusal| HeadFault::of(bytes, refusal))? else {
            return Ok(None);
        };
        (self.seen, self.line, self.lines) = (0, 0, 0);
        let head = bytes.split_to(end).freeze();
        parse(&head, self.max_headers).map(Some).map_err(|refusal| HeadFault::of(&head, refusal))
    }

    /// Whether a head has begun and is not over. An empty line before it is not its beginning.
    pub fn has_begun(&self) -> bool {
        self.lines > 0 || self.seen > self.line
    }

    /// Where the head ends. The first fault decides, so the pieces in which the bytes come make no difference.
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
    /// Of bytes that begin a head.
    pub(super) fn of(bytes: &[u8], refusal: Refusal) -> Self {
        let line = bytes.iter().position(|byte| !b"\r\n".contains(byte)).and_then(|at| bytes.get(at..));
        Self { refusal, is_head: line.is_some_and(|line| line.starts_with(b"HEAD ")) }
    }
}

/// Reads a head that is whole, with what empty lines are before it.
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
    // It knows nothing of what would be written to it before its answer.
    framing.body.iter_mut().for_each(|body| body.is_waited_for &= !is_old);
    Ok(Head { is_last: framing.closes || is_old, parts, body: framing.body })
}

/// The target in origin form (RFC 9112, section 3.2.1), as raw text: `Uri` would cut a fragment off, and read an
/// authority as a second opinion on `Host`.
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

/// What the headers say about where the request ends, and the connection.
#[derive(Default)]
struct Framing {
    has_length: bool,
    closes: bool,
    body: Option<DeclaredBody>,
}

/// Whether some operation has a body by this method.
fn has_body(method: &Method) -> bool {
    CATALOGUE.iter().any(|row| row.has_body && row.method == method.as_str())
}

impl Framing {
    /// Reads a header. `_` is read as `-`: servers behind us may do the same.
    fn field(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Refusal> {
        let fault = match canonical(name).as_ref() {
            "content-length" if replace(&mut self.has_length, true) => Reason::SeveralLengths,
            // Some servers would read one that is spelt with `_`, and others would not.
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
            // Without a body there is nothing to continue with.
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

/// A `Content-Length`: 1 to 7 digits, no sign, list or leading zero.
fn length(value: &[u8]) -> Option<usize> {
    let plain = (1..=7).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let leads = value.len() > 1 && value.starts_with(b"0");
    std::str::from_utf8(value).ok().filter(|_| plain && !leads)?.parse().ok()
}

/// As many headers are read without allocating for them.
const INLINE_HEADERS: usize = 64;
const UNREADABLE: Refusal = Refusal::BadRequest(Reason::NotHttp);

#[cfg(test)]
mod tests;
