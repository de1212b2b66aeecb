//! How is a request refused? Every reason, with its status, its code and its words.
//!
//! This is the first kind of error: how we answered. It stands beside the stages, which all return it, and before
//! `respond`, which alone turns it into bytes. It holds nothing a caller may not see.

use std::{fmt::Display, time::Duration};

use http::StatusCode;

use super::ending::Ending;
use crate::{
    audit::Outcome, credential::Unavailable, identity::IdentityError, limit::Exceeded, log::LIMITED,
    operation::TargetError, upstream::SendError,
};

/// Why a request is answered here and not by upstream.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The target, the query or a header is not acceptable.
    #[error("{0}")]
    BadRequest(&'static str),
    /// No caller was proved, or the proofs disagree.
    #[error("{0}")]
    Unauthenticated(#[from] IdentityError),
    /// The policy says no. Holds the id and the place of the rule that does; none where nothing allows it.
    #[error("the policy does not allow it")]
    Denied(Option<(String, String)>),
    /// The project is not configured.
    #[error("this project is not configured here")]
    UnknownProject,
    /// A browser sent it, on behalf of some page.
    #[error("requests of browsers are refused")]
    Browser,
    /// No operation has this path.
    #[error("no operation has this path")]
    NotFound,
    /// The operation has another method. Holds that one.
    #[error("this path answers to {0} only")]
    MethodNotAllowed(&'static str),
    /// `Host` is not one of the listener's.
    #[error("this listener does not answer to that host")]
    WrongHost,
    /// The head did not arrive in time.
    #[error("the request head did not arrive in time")]
    RequestTimeout,
    /// The head is too large, or has too many headers.
    #[error("the request head is too large")]
    HeadersTooLarge,
    /// The target is longer than any operation's.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The caller or its project has used up its quota.
    #[error("{0}")]
    RateLimited(#[from] Exceeded),
    /// More requests are under way than the limit allows.
    #[error("too many requests are under way")]
    Overloaded,
    /// The project's credential has no value that can be used now.
    #[error("{0}")]
    NoCredential(#[from] Unavailable),
    /// Upstream keeps failing, and is left alone for so long.
    #[error("upstream keeps failing, so it is left alone for now; nothing was sent")]
    CircuitOpen(Duration),
    /// An operator has frozen everybody, or this caller.
    #[error("an operator has frozen these calls")]
    Frozen,
    /// The process is stopping, and the time to finish is over.
    #[error("this proxy is stopping; nothing was sent")]
    Draining,
    /// The audit sink takes no record.
    #[error("calls cannot be recorded now, so none is carried out")]
    AuditBlocked,
    /// The last attempt that matters got no acceptable answer.
    #[error("{0}; {consequence}", consequence = consequence(.0))]
    Upstream(#[from] SendError),
    /// A bug.
    #[error("this is a bug in mpc-auth-proxy; the audit record has this request's id")]
    Internal,
}

/// What a refusal looks like on the wire and in the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) status: StatusCode,
    /// `error_code`, and `error.type` in the record.
    pub(super) code: &'static str,
    /// The error type of `Proxy-Status`, RFC 9209 section 2.3.
    pub(super) proxy_error: &'static str,
    pub(super) outcome: Outcome,
}

impl Refusal {
    /// Where something failed that cannot fail.
    pub(super) fn bug(error: impl Display) -> Self {
        tracing::error!(target: LIMITED, %error, "a stage failed in a way that should be impossible");
        Self::Internal
    }

    pub(super) fn facts(&self) -> Facts {
        let (status, code, proxy_error, outcome) = match self {
            Self::BadRequest(_) => (400, "PROXY.BadRequest", UNREADABLE, Outcome::Refused),
            Self::Unauthenticated(_) => (401, "PROXY.Unauthenticated", DENIED, Outcome::Refused),
            Self::Denied(_) | Self::UnknownProject | Self::Browser => {
                (403, "PROXY.Forbidden", DENIED, Outcome::Refused)
            }
            Self::NotFound => (404, "PROXY.NotFound", DENIED, Outcome::Refused),
            Self::MethodNotAllowed(_) => (405, "PROXY.MethodNotAllowed", DENIED, Outcome::Refused),
            Self::WrongHost => (421, "PROXY.WrongHost", DENIED, Outcome::Refused),
            Self::RequestTimeout => (408, "PROXY.RequestTimeout", UNREADABLE, Outcome::Refused),
            Self::HeadersTooLarge => (431, "PROXY.HeadersTooLarge", UNREADABLE, Outcome::Refused),
            Self::TargetTooLong => (414, "PROXY.TargetTooLong", UNREADABLE, Outcome::Refused),
            Self::RateLimited(_) => (429, "PROXY.RateLimited", DENIED, Outcome::Refused),
            Self::Overloaded => (503, "PROXY.Overloaded", "connection_limit_reached", Outcome::Refused),
            Self::NoCredential(_) => {
                (503, "PROXY.NoCredential", "proxy_configuration_error", Outcome::Refused)
            }
            Self::CircuitOpen(_) => (503, "PROXY.CircuitOpen", "destination_unavailable", Outcome::Refused),
            Self::Frozen => (503, "PROXY.Frozen", DENIED, Outcome::Refused),
            Self::Draining => (503, "PROXY.Draining", "connection_terminated", Outcome::Refused),
            Self::AuditBlocked => (503, "PROXY.AuditBlocked", "proxy_internal_error", Outcome::Refused),
            Self::Upstream(error) => match Ending::Failed(error).row().refusal {
                Some(facts) => return facts,
                None => return Self::Internal.facts(),
            },
            Self::Internal => (500, "PROXY.Internal", "proxy_internal_error", Outcome::Failed),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Facts { status, code, proxy_error, outcome }
    }

    /// When it may be worth trying again, where that is known.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let after = if let Self::RateLimited(Exceeded { retry_after, .. }) | Self::CircuitOpen(retry_after) =
            self
        {
            *retry_after
        } else if let Self::NoCredential(Unavailable::Missing(after) | Unavailable::HeldBack(after)) = self {
            *after
        } else if matches!(
            self,
            Self::Overloaded | Self::AuditBlocked | Self::Draining | Self::NoCredential(Unavailable::Crowded)
        ) {
            Duration::ZERO
        } else {
            return None;
        };
        // Whole seconds, and never too few of them.
        Some(Duration::from_secs((after + Duration::from_nanos(999_999_999)).as_secs().max(1)))
    }

    /// Whether it may not be sent any more: asked again, and decided otherwise.
    pub(super) fn is_a_decision(&self) -> bool {
        matches!(self, Self::Frozen | Self::Draining | Self::Denied(_))
    }

    /// What the caller is told. A rule is named on local listeners only: loopback and Unix ones.
    pub(super) fn message(&self, local: bool) -> String {
        if let (Self::Denied(rule), true) = (self, local) {
            return match rule {
                Some((rule, location)) => {
                    format!("the policy does not allow it: rule `{rule}` at {location} denies it")
                }
                None => "the policy does not allow it: no rule allows it".into(),
            };
        }
        self.to_string()
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::TooLong => Self::TargetTooLong,
            TargetError::NotFound => Self::NotFound,
            TargetError::Method(allowed) => Self::MethodNotAllowed(allowed),
            TargetError::Malformed(text) => Self::BadRequest(text),
        }
    }
}

/// What the caller needs to know beside the error.
fn consequence(error: &SendError) -> &'static str {
    if Ending::Failed(error).row().sent_nothing() {
        "nothing was sent"
    } else {
        "the outcome is unknown: look at the job before you repeat the call"
    }
}

const DENIED: &str = "http_request_denied";
const UNREADABLE: &str = "http_request_error";
