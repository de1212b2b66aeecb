//! Responses to refusals, and the parts that all responses share.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{self, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{Refusal, headers::JSON};
use crate::audit::{Failure, Record};

/// The body of an answer. Always complete, because a truncated answer of upstream must not look like a good one.
pub type Body = Bytes;

/// Returns the answer to a refused request.
pub(super) fn refuse(refusal: &Refusal, record: &mut Record, local: bool) -> Response<Body> {
    let (facts, message) = (refusal.facts(), refusal.message(local, record.caller.as_deref()));
    record.outcome = Some(facts.outcome);
    record.error = Some(Failure { code: facts.code, reason: facts.reason, message: message.clone() });
    let id = record.id();
    let body = RefusalBody { error_code: facts.code.as_str(), error_msg: &message, request_id: id };
    let mut response = Response::new(body.to_bytes());
    *response.status_mut() = facts.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    insert_header(headers, REQUEST_ID, &**id);
    // Only the body lists the supported paths: strangers can provoke this answer by the thousand.
    let details = if matches!(refusal, Refusal::NotFound) { facts.reason.to_string() } else { message };
    let start = [PROXY_NAME, "; error=", facts.proxy_error, "; details="].concat();
    insert_header(headers, PROXY_STATUS, with_string(start, &details));
    insert_header(headers, PROXY_REQUEST_ID, &**id);
    if let Refusal::MethodNotAllowed(allowed) = refusal {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    // Required with a 401 (RFC 9110, section 11.6.1). Other credentials have no scheme of their own.
    if facts.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    if let Some(after) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, after.as_secs().into());
    }
    // An invalid head does not say reliably where the next one starts.
    if matches!(facts.status(), StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT)
        || matches!(refusal, Refusal::HeadersTooLarge)
    {
        headers.insert(header::CONNECTION, CLOSE);
    }
    response
}

/// The body of a refusal.
#[derive(Serialize)]
struct RefusalBody<'a> {
    error_code: &'a str,
    error_msg: &'a str,
    request_id: &'a str,
}

impl RefusalBody<'_> {
    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.error_msg.len() + 192);
        // Writing to a vector cannot fail, and text always serialises.
        drop(serde_json::to_writer(&mut out, self));
        out.into()
    }
}

pub(super) fn insert_header(headers: &mut HeaderMap, name: HeaderName, value: impl TryInto<HeaderValue>) {
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}

/// Appends the text as a structured-field string (RFC 8941, section 3.3.3).
fn with_string(mut out: String, text: &str) -> String {
    out.reserve(text.len() + 2);
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                ' '..='~' => out.push(c),
                _ => out.push('?'),
            }
        }
    }
    out.push('"');
    out
}

/// Whether a structured field's string has this text as it is. Looks at every byte, so that it can look at many at once.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\'))
}

const PROXY_NAME: &str = "mpc-auth-proxy";
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
pub(super) const PROXY_REQUEST_ID: HeaderName = HeaderName::from_static("proxy-request-id");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"mpc-auth-proxy\"");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_structured_string() {
        assert_eq!(with_string("a=".into(), "plain ~"), "a=\"plain ~\"");
        assert_eq!(with_string("a=".into(), "a \"b\" \\ é\n"), "a=\"a \\\"b\\\" \\\\ ??\"");
    }
}
