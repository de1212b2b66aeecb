//! Decides from the head whether to read the body.
//!
//! It runs before the stack and asks the same stages, so a request that would be refused anyway is refused before its body
//! takes up memory. It grants nothing: once the body is read, the whole request is decided from the beginning. It keeps no
//! record: if it refuses, the request goes through the stack with the refusal in place of its body.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE, request::Parts};

use super::{Decide, Refusal, canonical, receive};
use crate::{
    audit::Sink,
    clock,
    config::Hosts,
    editing::is_json,
    identity::{Peer, Presented},
    operation::Access,
    reason::Reason,
};

/// A request whose body has not been read yet.
#[derive(Clone, Copy)]
pub struct ExpectedBody<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// The other end of the connection.
    pub peer: &'a Peer,
    /// The hosts that its listener accepts.
    pub hosts: &'a Hosts,
    /// Its `Content-Length`, if present.
    pub length: Option<usize>,
}

/// Decides whether to read bodies.
pub struct Precheck {
    decide: Decide,
    sink: Sink,
    body_bytes: usize,
}

impl Precheck {
    /// Asks these stages, and allows bodies of up to `body_bytes`.
    pub fn new(decide: Decide, sink: Sink, body_bytes: usize) -> Self {
        Self { decide, sink, body_bytes }
    }

    /// Returns how many bytes of the body to read.
    ///
    /// # Errors
    /// If the body is not to be read.
    pub fn check(&self, expected: &ExpectedBody<'_>) -> Result<usize, Refusal> {
        let ExpectedBody { head, peer, hosts, length } = *expected;
        let Decide { authenticate, route, limit, .. } = &self.decide;
        receive::check_headers(&head.headers, peer, hosts)?;
        let target = receive::target(&head.uri);
        let (method, headers) = (head.method.as_str(), &head.headers);
        let presented = Presented { peer, method, target, headers, body: None, now: clock::now() };
        let identity = authenticate.precheck(&presented)?;
        let (target, _) = route.look(method, target)?;
        if !target.operation().has_body {
            return Err(Refusal::BadRequest(Reason::BodyNotAllowed));
        }
        let length = length.ok_or(Refusal::LengthRequired)?;
        if length > self.body_bytes {
            return Err(Refusal::BodyTooLarge);
        }
        if !says_json(headers) {
            return Err(Refusal::UnsupportedMediaType);
        }
        if target.operation().access == Access::Write && limit.is_frozen(identity.caller()) {
            return Err(Refusal::Frozen);
        }
        if self.sink.refuses() {
            return Err(Refusal::AuditBlocked);
        }
        Ok(length)
    }
}

/// Whether exactly one header declares the type, as JSON. `_` is taken as `-`.
fn says_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.iter().filter(|(name, _)| canonical(name) == CONTENT_TYPE.as_str());
    let is = |(name, value): (&HeaderName, &HeaderValue)| *name == CONTENT_TYPE && is_json(value.as_bytes());
    lines.next().is_some_and(is) && lines.next().is_none()
}
