//! Turns outcomes into responses: the one map from results to answers.
//!
//! It wraps everything that can refuse or fail, and stands inside the audit layer, so that the record says what was
//! answered. A panic is answered like any other bug.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, Response, header};
use tower::Layer;

use super::{
    Delivered, Recorded, Refusal, Service,
    response::{Body, PROXY_REQUEST_ID, PROXY_STATUS, insert_header, refuse},
};
use crate::{
    audit::{Outcome, Record},
    upstream::UpstreamAnswer,
};

/// Wraps the stages in [`Respond`].
#[derive(Clone)]
pub struct RespondLayer;

/// Turns the results of the stages into answers.
pub struct Respond<S> {
    inner: S,
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;

    fn layer(&self, inner: S) -> Respond<S> {
        Respond { inner }
    }
}

impl<'r, S> Service<Recorded<'r>> for Respond<S>
where
    S: for<'s> Service<Recorded<'s>, Response = Delivered, Error = Refusal> + Sync,
{
    type Response = Response<Body>;
    type Error = Infallible;

    async fn call(&self, request: Recorded<'r>) -> Result<Response<Body>, Infallible> {
        let Recorded { arrival, record } = request;
        let local = arrival.peer.local;
        Ok(match caught(self.inner.call(Recorded::new(arrival, &mut *record))).await {
            Ok(delivered) => pass_on(delivered, record),
            Err(refusal) => refuse(&refusal, record, local),
        })
    }
}

/// Whether an answer came from upstream.
pub fn is_passed_on(answer: &Response<Body>) -> bool {
    let status = answer.headers().get(PROXY_STATUS);
    status.is_some_and(|status| status.as_bytes().starts_with(UPSTREAM_STATUS_PREFIX.as_bytes()))
}

/// Returns upstream's status, body and end-to-end headers, with our `Proxy-Status`.
fn pass_on(delivered: Delivered, record: &mut Record) -> Response<Body> {
    let Delivered { answer, room, after_stale } = delivered;
    record.outcome = Some(Outcome::Forwarded);
    let mut status = [UPSTREAM_STATUS_PREFIX, answer.status.as_str()].concat();
    if after_stale && answer.error_code().is_some_and(|code| JOB_GONE_CODES.contains(&code.as_str())) {
        status.push_str("; details=\"an earlier attempt got no answer and may have cancelled the job\"");
    }
    let UpstreamAnswer { status: code, headers, body } = answer;
    let mut response = Response::new(room.around(body));
    *response.status_mut() = code;
    *response.headers_mut() = end_to_end(headers);
    let headers = response.headers_mut();
    // Replaces one that upstream may have sent: only this proxy speaks for itself.
    insert_header(headers, PROXY_STATUS, status);
    insert_header(headers, PROXY_REQUEST_ID, &**record.id());
    response
}

/// Removes hop-by-hop headers (RFC 9110, section 7.6.1) and those that we set.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|b| *b == b',') {
            named.extend(HeaderName::from_bytes(token.trim_ascii()).ok());
        }
    }
    // Iterates over the answer's headers, which are few.
    named.extend(headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned());
    for name in named {
        headers.remove(name);
    }
    headers
}

/// Turns a panic into a refusal. The panicked future is dropped with its upstream connection and never used again. Its
/// message goes to the log only, because it may contain data of the request.
fn caught<T>(request: impl Future<Output = Result<T, Refusal>>) -> impl Future<Output = Result<T, Refusal>> {
    AssertUnwindSafe(request).catch_unwind().map(|caught| caught.unwrap_or(Err(Refusal::Internal)))
}

/// The beginning of `Proxy-Status` if upstream answered (RFC 9209, section 2.1.4).
const UPSTREAM_STATUS_PREFIX: &str = "mpc-auth-proxy; received-status=";
/// "task does not exist" and "in progress or completed": upstream's answers about a job that was just cancelled.
const JOB_GONE_CODES: [&str; 2] = ["MPC.10211", "MPC.10213"];
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Recomputed from the body.
    header::CONTENT_LENGTH,
    PROXY_REQUEST_ID,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_refusal_that_does_not_tell_what_it_was_about() {
        let panicking = async { if true { panic!("index {}", 7) } else { Ok::<(), Refusal>(()) } };
        let refusal = caught(panicking).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Internal) && !refusal.message(true, None).contains('7'));
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
}
