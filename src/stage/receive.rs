//! Checks the host, browser headers and trace context of a head: [`Recorded`] → [`Received`].
//!
//! It comes first, so that no later stage sees a request that was meant for another host. The server has recognised the head
//! by then; an unacceptable one arrives as its refusal and ends here. Who calls, and what for, is not its concern.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, Method, Uri, header::HOST, uri::PathAndQuery};
use tokio::time::Instant;

use super::{Payload, Recorded, Refusal, Stage, exchange::Exchange, trace::TraceContext};
use crate::{
    audit::bounded,
    config::Hosts,
    identity::{Peer, PeerAddress},
    reason::Reason,
};

/// A request with an acceptable head.
pub struct Received<'r> {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) exchange: Exchange<'r>,
    /// Private, so that only this stage can make one.
    _made_here: (),
}

/// Checks heads.
#[derive(Clone)]
pub struct Receive {
    deadline: Duration,
}

impl Receive {
    /// Checks heads, and gives each request this deadline.
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }
}

impl<'r> Stage<Recorded<'r>> for Receive {
    type After = Received<'r>;

    fn check(&self, recorded: Recorded<'r>) -> Result<Received<'r>, Refusal> {
        let Recorded { arrival, record } = recorded;
        let head = *arrival.head?;
        record.method = Some(known(&head.method));
        check_headers(&head.headers, &arrival.peer, &arrival.hosts).inspect_err(|refusal| {
            if let (Refusal::WrongHost, Some(host)) = (refusal, head.headers.get(HOST)) {
                record.host = Some(bounded(&String::from_utf8_lossy(host.as_bytes())));
            }
        })?;
        let trace = TraceContext::of(&head.headers);
        record.trace_id = trace.as_ref().map(|trace| trace.trace_id().to_owned());
        let deadline = Instant::now() + self.deadline;
        Ok(Received {
            target: target(&head.uri).to_owned(),
            method: head.method,
            headers: head.headers,
            payload: arrival.payload,
            exchange: Exchange { peer: arrival.peer, record, deadline, trace },
            _made_here: (),
        })
    }
}

/// Returns the raw target.
pub(super) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default()
}

/// Returns the method as OpenTelemetry's conventions record it: only standard ones are named.
fn known(method: &Method) -> &'static str {
    let all = ["DELETE", "GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    all.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// Checks all headers in one pass. Names are compared with `_` taken as `-`, as servers behind us may do.
pub(super) fn check_headers(headers: &HeaderMap, peer: &Peer, hosts: &Hosts) -> Result<(), Refusal> {
    let (mut host, mut browser) = (None, false);
    for (name, value) in headers {
        match canonical(name).as_ref() {
            "host" if host.is_some() => return Err(Refusal::BadRequest(Reason::SeveralHosts)),
            "host" => host = Some(value),
            "origin" | "sec-fetch-site" => browser = true,
            _ => {}
        }
    }
    // A Unix socket is reached by its path, so clients put anything into `Host`.
    if *hosts == Hosts::Default && matches!(peer.address, PeerAddress::Unix { .. }) {
        return if browser { Err(Refusal::Browser) } else { Ok(()) };
    }
    let host = host.ok_or(Refusal::BadRequest(Reason::NoHost))?;
    let host = host.to_str().map_err(|_| Refusal::BadRequest(Reason::BadHost))?;
    // After DNS rebinding a page still sends its own host name, or browser headers.
    if browser {
        return Err(Refusal::Browser);
    }
    if !hosts.answer_to(host) {
        return Err(Refusal::WrongHost);
    }
    if is_host(host) { Ok(()) } else { Err(Refusal::BadRequest(Reason::BadHost)) }
}

/// Whether the characters can form one host with an optional port. Checked even if any host is accepted.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

/// Returns the name with `-` for `_`. `HeaderName` is lower case already.
pub fn canonical(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.bytes().any(|byte| byte == b'_') { name.replace('_', "-").into() } else { name.into() }
}
