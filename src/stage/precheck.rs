//! Decides from the head whether a body is worth reading. What can be said of a request by its head alone, before more
//! of it is waited for.
//!
//! It stands before the stack, beside the stages of which it asks the same: whatever would be refused anyway is refused
//! before its body takes up room. It grants nothing: when the body is there the request is decided whole, from its
//! beginning. It keeps no record; where it says no, the request goes through the stack with that in place of its body.

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

/// A request whose body is yet to come.
#[derive(Clone, Copy)]
pub struct ExpectedBody<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// Who sent it, by connection.
    pub peer: &'a Peer,
    /// The hosts its listener answers to.
    pub hosts: &'a Hosts,
    /// How long its body is, where that is said.
    pub length: Option<usize>,
}

/// Looks at heads.
pub struct Precheck {
    decide: Decide,
    sink: Sink,
    body_bytes: usize,
}

impl Precheck {
    /// Asks these stages, and lets bodies of so many bytes be read.
    pub fn new(decide: Decide, sink: Sink, body_bytes: usize) -> Self {
        Self { decide, sink, body_bytes }
    }

    /// How many bytes of a body are worth reading.
    ///
    /// # Errors
    /// Why they are not.
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

/// Whether one header says what the body is, and that it is JSON. `_` is read as `-`.
fn says_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.iter().filter(|(name, _)| canonical(name) == CONTENT_TYPE.as_str());
    let is = |(name, value): (&HeaderName, &HeaderValue)| *name == CONTENT_TYPE && is_json(value.as_bytes());
    lines.next().is_some_and(is) && lines.next().is_none()
}
