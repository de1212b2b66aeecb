//! The details of a refusal on the wire and in the record.

use http::StatusCode;

use crate::{
    audit::Outcome,
    reason::{Code, Reason},
};

/// The details of a refusal on the wire and in the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusalDetails {
    /// `error_code`, and `error.type` in the record. It determines the status.
    pub(super) code: Code,
    /// `error.reason` in the record.
    pub(super) reason: Reason,
    /// The error type of `Proxy-Status`, RFC 9209 section 2.3.
    pub(super) proxy_error: &'static str,
    pub(super) outcome: Outcome,
}

impl RefusalDetails {
    /// Returns the status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        let status = self.code.status().and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
