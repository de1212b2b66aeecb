//! What is the caller told? The one map from what happened to an answer.
//!
//! It stands around everything that can refuse or fail, and inside the audit layer, so that what is recorded is
//! what was said. A stage that panics is answered like any other bug. It also is where readiness errors (load
//! shedding) become answers, which is why it drives the inner service itself.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{self, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower::{BoxError, Layer, Service, ServiceExt, load_shed::error::Overloaded};

use super::{Delivered, Recorded, Refusal};
use crate::{
    audit::{Outcome, Trail},
    log::LIMITED,
    upstream::{Answer, SendError},
};

/// The body of an answer: always whole, because a cut answer of upstream must not look like a good one.
pub type Body = Bytes;

/// Wraps the stages in [`Respond`].
#[derive(Clone)]
pub struct RespondLayer;

/// Turns what the stages return into answers.
#[derive(Clone)]
pub struct Respond<S> {
    inner: S,
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;

    fn layer(&self, inner: S) -> Respond<S> {
        Respond { inner }
    }
}

impl<S> Service<Recorded> for Respond<S>
where
    S: Service<Recorded, Response = Delivered, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    /// Always ready: a service that is not becomes an answer that says so.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Recorded) -> Self::Future {
        let (trail, local) = (request.trail().clone(), request.peer().local);
        let inner = self.inner.clone();
        Box::pin(async move {
            let result = Caught(Box::pin(inner.oneshot(request))).await;
            Ok(match result {
                Ok(delivered) => pass_on(delivered, &trail),
                Err(error) => refuse(&refusal(error), &trail, local),
            })
        })
    }
}

/// The answer that refuses a request.
pub(super) fn refuse(refusal: &Refusal, trail: &Trail, local: bool) -> Response<Body> {
    let (facts, message) = (refusal.facts(), refusal.message(local));
    {
        let mut record = trail.note();
        record.outcome = Some(facts.outcome);
        record.error = Some(facts.code);
    }
    let body =
        serde_json::json!({ "error_code": facts.code, "error_msg": message, "request_id": **trail.id() });
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = facts.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    put(headers, REQUEST_ID, trail.id());
    put(
        headers,
        PROXY_STATUS,
        &format!("{NAME}; error={}; details=\"{}\"", facts.proxy_error, quoted(&message)),
    );
    put(headers, PROXY_REQUEST_ID, trail.id());
    if let Refusal::MethodNotAllowed(allowed) = refusal {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    // Required with a 401 (RFC 9110, section 11.6.1); the other proofs have no scheme of their own.
    if facts.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    if let Some(after) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, after.as_secs().into());
    }
    // A head that cannot be trusted says nothing reliable about where the next one starts.
    if matches!(facts.status, StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT)
        || matches!(refusal, Refusal::HeadersTooLarge)
    {
        headers.insert(header::CONNECTION, CLOSE);
    }
    response
}

fn refusal(error: BoxError) -> Refusal {
    let error = match error.downcast::<Refusal>() {
        Ok(refusal) => return *refusal,
        Err(error) => error,
    };
    match error.downcast::<SendError>() {
        Ok(error) => Refusal::from(*error),
        Err(error) if error.is::<Overloaded>() => Refusal::Overloaded,
        Err(error) => {
            tracing::error!(target: LIMITED, error = %error, "a stage failed in a way that should be impossible");
            Refusal::Internal
        }
    }
}

/// Whether an answer is upstream's, and not one that was made here.
pub fn is_passed_on(answer: &Response<Body>) -> bool {
    let status = answer.headers().get(PROXY_STATUS);
    status.is_some_and(|status| status.as_bytes().starts_with(PASSED_ON.as_bytes()))
}

/// Upstream's status, body and end-to-end headers, and what we have to say about them.
fn pass_on(delivered: Delivered, trail: &Trail) -> Response<Body> {
    let Delivered { answer, after_stale } = delivered;
    trail.note().outcome = Some(Outcome::Forwarded);
    let mut status = format!("{PASSED_ON}{}", answer.status.as_u16());
    if after_stale && answer.error_code().is_some_and(|code| JOB_IS_GONE.contains(&code.as_str())) {
        status.push_str(
            "; details=\"an attempt before this one got no answer and may have cancelled the job\"",
        );
    }
    let Answer { status: code, headers, body } = answer;
    let mut response = Response::new(body);
    *response.status_mut() = code;
    *response.headers_mut() = end_to_end(headers);
    let headers = response.headers_mut();
    // In place of one that upstream may have sent: what this proxy says of itself is said by nobody else.
    put(headers, PROXY_STATUS, &status);
    put(headers, PROXY_REQUEST_ID, trail.id());
    response
}

/// Without the headers that speak of one connection only (RFC 9110, section 7.6.1), and those we set.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|b| *b == b',') {
            named.extend(HeaderName::from_bytes(token.trim_ascii()).ok());
        }
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The text as the inside of a structured field's string (RFC 8941, section 3.3.3).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

/// A future whose panic is an error.
struct Caught<F>(F);

impl<F, T> Future for Caught<F>
where
    F: Future<Output = Result<T, BoxError>> + Unpin,
{
    type Output = Result<T, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = Pin::new(&mut self.0);
        // Nothing of a panicked future is used again: it is dropped with its connection to upstream.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll,
            // What it says is the log's: it may hold what was being worked on.
            Err(_) => Poll::Ready(Err(Panicked.into())),
        }
    }
}

/// A stage panicked: a bug.
#[derive(Debug, thiserror::Error)]
#[error("a stage panicked")]
struct Panicked;

const NAME: &str = "mpc-auth-proxy";
/// What `Proxy-Status` begins with where upstream answered (RFC 9209, section 2.1.4).
const PASSED_ON: &str = "mpc-auth-proxy; received-status=";
/// "task does not exist", and "in progress or completed": what upstream says of a job that was just cancelled.
const JOB_IS_GONE: [&str; 2] = ["MPC.10211", "MPC.10213"];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PROXY_REQUEST_ID: HeaderName = HeaderName::from_static("proxy-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"mpc-auth-proxy\"");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Computed anew from the body.
    header::CONTENT_LENGTH,
    PROXY_REQUEST_ID,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::IdentityError, upstream::DialError};

    #[test]
    fn every_kind_of_error_finds_its_refusal() {
        let status = |error: BoxError| refusal(error).facts().status.as_u16();
        assert_eq!(status(Refusal::from(IdentityError::NoProof).into()), 401);
        assert_eq!(status(SendError::Dial(DialError::Timeout).into()), 502);
        assert_eq!(status(SendError::Timeout.into()), 504);
        assert_eq!(status(SendError::Stale.into()), 502);
        assert_eq!(status(Overloaded::new().into()), 503);
        assert_eq!(status("anything else".into()), 500);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_does_not_tell_what_it_was_about() {
        let panicking = Box::pin(async { if true { panic!("index {}", 7) } else { Ok::<(), BoxError>(()) } });
        let error = Caught(panicking).await.unwrap_err();
        assert_eq!(error.to_string(), "a stage panicked");
    }

    #[test]
    fn every_connection_header_names_headers_to_remove() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-one"),
            ("connection", "X-Two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let left = end_to_end(headers);
        assert_eq!(left.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-three"]);
    }

    #[test]
    fn details_are_one_structured_string() {
        assert_eq!(quoted("a \"b\" \\ é\n"), "a \\\"b\\\" \\\\ ??");
    }
}
