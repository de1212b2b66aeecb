//! Answers of the stand-in cloud, with the documented errors of the gateway and of MPC.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// An answer without its request id and date.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: Vec<(&'static str, String)>,
    /// Its type and its text.
    body: Option<(&'static str, String)>,
}

/// The reaction to a request: an answer after a delay, or a connection reset.
pub(super) struct Reply {
    pub(super) delay: Duration,
    pub(super) answer: Option<Answer>,
}

/// The documented errors.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The gateway knows no such API, or no such host.
    NoSuchApi,
    /// The gateway rejects a body of this size.
    BodyTooLarge,
    /// The gateway rejects the credential, for this reason.
    Unproven(String),
    /// The gateway wants a new token.
    TokenRefused,
    /// The gateway throttles.
    Throttled { retry_after_s: u64 },
    /// The gateway has no backend.
    Unavailable,
    /// MPC cannot read the request.
    BadParameter,
    /// MPC: the credential, the URL and the headers do not name the same project.
    OtherTenant,
    /// The gateway: IAM does not allow the credential this action.
    NotAllowed(&'static str),
    /// MPC requires another content type.
    ContentType,
    /// MPC: an object's path in OBS is invalid.
    BadPath,
    /// MPC cannot read an input.
    Unreadable,
    /// MPC has no such task.
    NoSuchTask,
    /// MPC: the task is in progress or completed.
    NotWaiting,
}

impl Answer {
    /// No content.
    pub(super) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    /// A JSON body.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(("application/json", body.to_string())) }
    }

    /// A body of plain text.
    pub(super) fn text(status: StatusCode, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: Some(("text/plain", body.to_owned())) }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Converts into HTTP. The date is the server's own, by which clients can measure their clock.
    pub(super) fn render(
        self,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Response<Full<Bytes>>, http::Error> {
        let mut response = Response::builder()
            .status(self.status)
            .header("x-request-id", request_id)
            .header("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        match self.body {
            None => response.body(Full::default()),
            Some((kind, body)) => response.header("content-type", kind).body(Full::from(body)),
        }
    }
}

impl Reply {
    /// Answers at once.
    pub(super) fn of(answer: Answer) -> Self {
        Self { delay: Duration::ZERO, answer: Some(answer) }
    }

    /// Resets the connection instead of answering.
    pub(super) fn reset() -> Self {
        Self { delay: Duration::ZERO, answer: None }
    }

    /// Never answers, with the connection open.
    pub(super) fn hang() -> Self {
        Self { delay: Duration::MAX, answer: None }
    }
}

impl Problem {
    /// Formats the error as the service that reports it.
    pub(super) fn answer(self, request_id: &str) -> Answer {
        let retry_after =
            if let Self::Throttled { retry_after_s } = self { Some(retry_after_s) } else { None };
        let (status, code, message) = self.documented();
        let body = if code.starts_with("APIGW") {
            json!({ "error_msg": message, "error_code": code, "request_id": request_id })
        } else {
            json!({ "error_code": code, "error_msg": message })
        };
        let answer = Answer::json(status, &body);
        match retry_after {
            Some(seconds) => answer.with("retry-after", seconds.to_string()),
            None => answer,
        }
    }

    fn documented(self) -> (StatusCode, &'static str, String) {
        let (status, code, message) = match self {
            Self::NoSuchApi => (
                StatusCode::NOT_FOUND,
                "APIGW.0101",
                "The API does not exist or has not been published in the environment",
            ),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "APIGW.0201", "Request entity too large"),
            Self::Unproven(reason) => {
                let message = format!("Incorrect IAM authentication information: {reason}");
                return (StatusCode::UNAUTHORIZED, "APIGW.0301", message);
            }
            Self::TokenRefused => (StatusCode::UNAUTHORIZED, "APIGW.0307", "The token must be updated"),
            Self::Throttled { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "APIGW.0308",
                "The throttling threshold has been reached: policy tenant over ratelimit",
            ),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "APIGW.0613", "The service is unavailable")
            }
            Self::BadParameter => (StatusCode::BAD_REQUEST, "MPC.10202", "Invalid request parameter"),
            Self::OtherTenant => (StatusCode::UNAUTHORIZED, "MPC.10208", "Failed to check the tenant ID"),
            Self::NotAllowed(action) => {
                let message = format!("The user is not authorized to perform {action}");
                return (StatusCode::FORBIDDEN, "APIGW.0302", message);
            }
            Self::ContentType => (StatusCode::BAD_REQUEST, "MPC.10205", "Invalid content type"),
            Self::BadPath => (StatusCode::BAD_REQUEST, "MPC.10209", "Invalid OBS path"),
            Self::Unreadable => (StatusCode::NOT_ACCEPTABLE, "MPC.10210", "Failed to read the input file"),
            Self::NoSuchTask => (StatusCode::FORBIDDEN, "MPC.10211", "The task does not exist"),
            Self::NotWaiting => {
                (StatusCode::BAD_REQUEST, "MPC.10213", "The task is in progress or has been completed")
            }
        };
        (status, code, message.to_owned())
    }
}
