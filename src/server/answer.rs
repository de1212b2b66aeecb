//! Serialises answers: head and body in one buffer, so that one send is enough.
//!
//! It sets the headers that concern this connection only: `Date`, `Content-Length` and the one `Connection` header.

use std::{cell::RefCell, io::Write, time::SystemTime};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderName, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE},
};
use httpdate::HttpDate;

use crate::{
    clock::{self, PerSecond},
    stage::Body,
};

/// How the answer is framed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    /// It answers HEAD, so its body is left out.
    pub(super) is_head: bool,
    /// It is the connection's last.
    pub(super) is_last: bool,
}

/// Appends an answer to `out`. A body that is too large to be copied is returned instead.
pub(super) fn write(answer: &Response<Body>, framing: Framing, out: &mut Vec<u8>) -> Bytes {
    let (status, body) = (answer.status(), answer.body());
    out.reserve(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in answer.headers() {
        if *name != CONNECTION && *name != CONTENT_LENGTH {
            header(name, value.as_bytes(), out);
        }
    }
    if !answer.headers().contains_key(DATE) {
        TODAY.with_borrow_mut(|today| header(&DATE, today.of(clock::now(), date).as_bytes(), out));
    }
    // 204 has no body and no `Content-Length` (RFC 9110, section 8.6).
    if status != StatusCode::NO_CONTENT {
        // Writing to a vector cannot fail.
        drop(write!(out, "content-length: {}\r\n", body.len()));
    }
    if framing.is_last {
        header(&CONNECTION, b"close", out);
    }
    out.extend_from_slice(b"\r\n");
    if framing.is_head || status == StatusCode::NO_CONTENT {
        return Bytes::new();
    }
    if body.len() > COPIED_BODY {
        return body.clone();
    }
    out.extend_from_slice(body);
    Bytes::new()
}

fn header(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Formats a time for `Date`.
fn date(moment: DateTime<Utc>) -> String {
    HttpDate::from(SystemTime::from(moment)).to_string()
}

thread_local! {
    static TODAY: RefCell<PerSecond<String>> = RefCell::default();
}

/// The largest body that is copied, so that one send is enough.
const COPIED_BODY: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PLAIN: Framing = Framing { is_head: false, is_last: false };

    fn written(answer: &Response<Body>, framing: Framing) -> String {
        let mut out = Vec::new();
        let body = write(answer, framing, &mut out);
        assert!(body.is_empty() || out.ends_with(b"\r\n\r\n"));
        out.extend_from_slice(&body);
        String::from_utf8(out).unwrap()
    }

    fn answer(status: u16, body: &'static str, headers: &[(&'static str, &'static str)]) -> Response<Body> {
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            answer.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        answer
    }

    #[test]
    fn an_answer_is_written_whole_and_its_connection_header_once() {
        const DAY: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let answer = answer(403, "{}", &[DAY, ("x-a", "1"), ("connection", "close"), ("connection", "x")]);
        let head = "HTTP/1.1 403 Forbidden\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-a: 1\r\n";
        assert_eq!(written(&answer, PLAIN), format!("{head}content-length: 2\r\n\r\n{{}}"));
        let last = format!("{head}content-length: 2\r\nconnection: close\r\n\r\n");
        assert_eq!(written(&answer, Framing { is_last: true, ..PLAIN }), format!("{last}{{}}"));
        assert_eq!(written(&answer, Framing { is_last: true, is_head: true }), last, "to HEAD");
    }

    #[test]
    fn what_has_no_body_has_no_length_and_what_has_no_date_is_given_one() {
        let text = written(&answer(204, "", &[]), PLAIN);
        let date = text.strip_prefix("HTTP/1.1 204 No Content\r\ndate: ").unwrap();
        let date = date.strip_suffix("\r\n\r\n").unwrap();
        httpdate::parse_http_date(date).unwrap();
        assert!(written(&answer(499, "", &[]), PLAIN).starts_with("HTTP/1.1 499 \r\n"));
    }

    #[test]
    fn the_date_is_right_in_each_second() {
        let mut today = PerSecond::default();
        for (milliseconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (999, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1000, "Thu, 01 Jan 1970 00:00:01 GMT"),
            (784_111_777_500, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1000, "Thu, 01 Jan 1970 00:00:01 GMT"),
        ] {
            assert_eq!(today.of(DateTime::from_timestamp_millis(milliseconds).unwrap(), date), expected);
        }
    }
}
