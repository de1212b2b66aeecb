//! Refusals: every reason, with its status, code and message.
//!
//! Every stage returns this one error type, and `respond` alone turns it into bytes. It holds nothing that a caller may not
//! see.

use std::{
    fmt::{self, Display, Write},
    sync::LazyLock,
    time::Duration,
};

use super::{details::RefusalDetails, outcome::AttemptOutcome};
use crate::{
    audit::Outcome,
    credential::Unavailable,
    editing::{BodyFault, Problem},
    identity::IdentityError,
    limit::Exceeded,
    log::LIMITED,
    operation::{CATALOGUE, Operation, TargetError},
    reason::{Code, Reason},
    upstream::SendError,
};

/// Why the proxy itself answers a request.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The target, the query or a header is not acceptable.
    #[error("{0}")]
    BadRequest(Reason),
    /// No caller is authenticated, or the credentials conflict.
    #[error("{0}")]
    Unauthenticated(#[from] IdentityError),
    /// The policy denies it.
    #[error("denied by policy")]
    Denied(Denial),
    /// The policy denies it by the facts of the job, or there is no such job. The caller is not told which; the reason is
    /// for the record.
    #[error("denied by policy, or no such job")]
    DeniedByFacts(Reason),
    /// The job could not be looked up, so the call cannot be decided.
    #[error("{subject}{0}; the call was not sent", subject = .0.lookup_subject())]
    LookupFailed(Reason),
    /// Upstream's answer to a view cannot be understood.
    #[error("{0}")]
    Unreadable(Reason),
    /// Upstream's answer to a view has too little to decide whether a job may be shown.
    #[error("{subject}{0}; nothing was returned", subject = .0.lookup_subject())]
    Undecided(Reason),
    /// The project is not configured.
    #[error("{}", Reason::UnknownProject)]
    UnknownProject,
    /// A browser sent it on behalf of a web page.
    #[error("{}", Reason::Browser)]
    Browser,
    /// No operation has this path.
    #[error("{}; supported: {}", Reason::UnknownPath, *PATHS)]
    NotFound,
    /// The method is not allowed. Holds the one that is.
    #[error("method not allowed: use {0}")]
    MethodNotAllowed(&'static str),
    /// `Host` is not one of the listener's.
    #[error("{}", Reason::WrongHost)]
    WrongHost,
    /// The head did not arrive in time.
    #[error("{}", Reason::HeadTimeout)]
    RequestTimeout,
    /// The body did not arrive in time.
    #[error("{}", Reason::BodyTimeout)]
    BodyTimeout,
    /// A body without `Content-Length`.
    #[error("{}", Reason::LengthRequired)]
    LengthRequired,
    /// The body is too large.
    #[error("{}", Reason::BodyTooLarge)]
    BodyTooLarge,
    /// The body is not declared as JSON.
    #[error("{}", Reason::MediaType)]
    UnsupportedMediaType,
    /// The body is not acceptable. Holds where and why.
    #[error("{0}")]
    BadBody(#[from] BodyFault),
    /// The head is too large, or has too many headers.
    #[error("{}", Reason::HeadTooLarge)]
    HeadersTooLarge,
    /// The target is longer than any operation's.
    #[error("{}", Reason::TargetTooLong)]
    TargetTooLong,
    /// The caller or its project has used up its quota.
    #[error("{0}")]
    RateLimited(#[from] Exceeded),
    /// The limit of requests in flight is reached.
    #[error("{}", Reason::Overloaded)]
    Overloaded,
    /// The project's credential is not usable now.
    #[error("{0}")]
    NoCredential(#[from] Unavailable),
    /// The circuit breaker is open for this long.
    #[error("{}", Reason::CircuitOpen)]
    CircuitOpen(Duration),
    /// An operator has frozen this caller or all callers.
    #[error("{}", Reason::Frozen)]
    Frozen,
    /// The process is stopping, and the drain time-out is over.
    #[error("{}", Reason::Draining)]
    Draining,
    /// The audit sink accepts no records.
    #[error("{}", Reason::AuditBlocked)]
    AuditBlocked,
    /// The decisive attempt got no acceptable answer.
    #[error("{0}; {consequence}", consequence = consequence(.0))]
    Upstream(#[from] SendError),
    /// A bug.
    #[error("{}", Reason::Bug)]
    Internal,
}

/// Why the policy denies a call, for callers on this machine.
#[derive(Debug)]
pub enum Denial {
    /// A rule denies it. Holds its id and location.
    ByRule(String, String),
    /// No rule allows it. Holds the description of the closest one.
    NoRule(Option<String>),
}

impl Refusal {
    /// Reports a failure that should be impossible.
    pub(super) fn bug(error: impl Display) -> Self {
        tracing::error!(target: LIMITED, %error, "a stage failed in a way that should be impossible");
        Self::Internal
    }

    pub(super) fn facts(&self) -> RefusalDetails {
        use Outcome::{Failed, Refused};

        let (code, reason, proxy_error, outcome) = match self {
            Self::BadRequest(reason) => (Code::BadRequest, *reason, UNREADABLE, Refused),
            Self::BadBody(fault) => return of_fault(fault),
            Self::LengthRequired => (Code::LengthRequired, Reason::LengthRequired, UNREADABLE, Refused),
            Self::BodyTooLarge => (Code::BodyTooLarge, Reason::BodyTooLarge, UNREADABLE, Refused),
            Self::UnsupportedMediaType => {
                (Code::UnsupportedMediaType, Reason::MediaType, UNREADABLE, Refused)
            }
            Self::BodyTimeout => (Code::RequestTimeout, Reason::BodyTimeout, UNREADABLE, Refused),
            Self::Unauthenticated(error) => (Code::Unauthenticated, error.reason(), DENIED, Refused),
            Self::Denied(Denial::ByRule(..)) => (Code::Forbidden, Reason::DeniedByRule, DENIED, Refused),
            Self::Denied(Denial::NoRule(_)) => (Code::Forbidden, Reason::NoRule, DENIED, Refused),
            Self::DeniedByFacts(reason) => (Code::Forbidden, *reason, DENIED, Refused),
            Self::LookupFailed(reason) | Self::Undecided(reason) => {
                (Code::LookupFailed, *reason, "destination_unavailable", Refused)
            }
            Self::Unreadable(reason) => (Code::UpstreamInvalid, *reason, "http_protocol_error", Failed),
            Self::UnknownProject => (Code::Forbidden, Reason::UnknownProject, DENIED, Refused),
            Self::Browser => (Code::Forbidden, Reason::Browser, DENIED, Refused),
            Self::NotFound => (Code::NotFound, Reason::UnknownPath, DENIED, Refused),
            Self::MethodNotAllowed(_) => (Code::MethodNotAllowed, Reason::WrongMethod, DENIED, Refused),
            Self::WrongHost => (Code::WrongHost, Reason::WrongHost, DENIED, Refused),
            Self::RequestTimeout => (Code::RequestTimeout, Reason::HeadTimeout, UNREADABLE, Refused),
            Self::HeadersTooLarge => (Code::HeadersTooLarge, Reason::HeadTooLarge, UNREADABLE, Refused),
            Self::TargetTooLong => (Code::TargetTooLong, Reason::TargetTooLong, UNREADABLE, Refused),
            Self::RateLimited(Exceeded { scope, .. }) => (Code::RateLimited, scope.reason(), DENIED, Refused),
            Self::Overloaded => (Code::Overloaded, Reason::Overloaded, "connection_limit_reached", Refused),
            Self::NoCredential(unavailable) => {
                (Code::NoCredential, unavailable.reason(), "proxy_configuration_error", Refused)
            }
            Self::CircuitOpen(_) => {
                (Code::CircuitOpen, Reason::CircuitOpen, "destination_unavailable", Refused)
            }
            Self::Frozen => (Code::Frozen, Reason::Frozen, DENIED, Refused),
            Self::Draining => (Code::Draining, Reason::Draining, "connection_terminated", Refused),
            Self::AuditBlocked => (Code::AuditBlocked, Reason::AuditBlocked, "proxy_internal_error", Refused),
            Self::Upstream(error) => match AttemptOutcome::Failed(error).row().refusal {
                Some(facts) => return facts,
                None => return Self::Internal.facts(),
            },
            Self::Internal => (Code::Internal, Reason::Bug, "proxy_internal_error", Failed),
        };
        RefusalDetails { code, reason, proxy_error, outcome }
    }

    /// Returns when to try again, if known.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let after = if let Self::RateLimited(Exceeded { retry_after, .. }) | Self::CircuitOpen(retry_after) =
            self
        {
            *retry_after
        } else if let Self::NoCredential(Unavailable::Missing(after) | Unavailable::HeldBack(after)) = self {
            *after
        } else if matches!(
            self,
            Self::Overloaded
                | Self::AuditBlocked
                | Self::Draining
                | Self::LookupFailed(_)
                | Self::NoCredential(Unavailable::Crowded)
        ) {
            Duration::ZERO
        } else {
            return None;
        };
        // Whole seconds, rounded up.
        Some(Duration::from_secs((after + Duration::from_nanos(999_999_999)).as_secs().max(1)))
    }

    /// Whether the last check revoked the permission.
    pub(super) fn is_a_decision(&self) -> bool {
        matches!(
            self,
            Self::Frozen | Self::Draining | Self::Denied(_) | Self::DeniedByFacts(_) | Self::LookupFailed(_)
        )
    }

    /// Returns the message for the caller. Only local listeners (loopback and Unix) tell the caller's identity and the rule.
    pub(super) fn message(&self, local: bool, caller: Option<&str>) -> String {
        let Self::Denied(denial) = self else { return self.to_string() };
        if !local {
            return self.to_string();
        }
        let caller = fmt::from_fn(|f| caller.map_or(Ok(()), |caller| write!(f, " (caller: `{caller}`)")));
        let mut message = String::with_capacity(TYPICAL_DENIAL);
        match denial {
            Denial::ByRule(rule, location) => {
                write!(message, "{self}: rule `{rule}` at {location} denies it{caller}")
            }
            Denial::NoRule(None) => write!(message, "{self}: no rule allows this call{caller}"),
            Denial::NoRule(Some(closest)) => {
                write!(message, "{self}: no rule allows this call{caller}; {closest}")
            }
        }
        // A string takes whatever is written.
        .ok();
        message
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::TooLong => Self::TargetTooLong,
            TargetError::NotFound => Self::NotFound,
            TargetError::Method(allowed) => Self::MethodNotAllowed(allowed),
            TargetError::Malformed(reason) => Self::BadRequest(reason),
        }
    }
}

/// Returns the details for an unacceptable body. If its two parsers disagree, that is a bug and nothing is sent.
fn of_fault(fault: &BodyFault) -> RefusalDetails {
    let (code, proxy_error, outcome) = if fault.problem == Problem::Disagreement {
        (Code::Internal, "proxy_internal_error", Outcome::Failed)
    } else {
        (Code::BadRequest, UNREADABLE, Outcome::Refused)
    };
    RefusalDetails { code, reason: fault.problem.reason(), proxy_error, outcome }
}

/// Returns what the error means for the call.
fn consequence(error: &SendError) -> &'static str {
    if AttemptOutcome::Failed(error).row().sent_nothing() {
        "nothing was sent"
    } else {
        "the outcome is unknown: check the job before you retry"
    }
}

/// The supported paths. Static, because every 404 has them, and answers that nobody reads take up memory.
static PATHS: LazyLock<String> = LazyLock::new(|| {
    let mut paths: Vec<(&str, Vec<&str>)> = Vec::new();
    for Operation { method, template, .. } in CATALOGUE {
        match paths.iter_mut().find(|(path, _)| path == template) {
            Some((_, methods)) => methods.push(method),
            None => paths.push((template, vec![method])),
        }
    }
    let paths = paths.iter().map(|(path, methods)| format!("{path} ({})", methods.join(", ")));
    paths.collect::<Vec<_>>().join(", ")
});
/// Most denial messages are shorter.
const TYPICAL_DENIAL: usize = 256;
const DENIED: &str = "http_request_denied";
const UNREADABLE: &str = "http_request_error";
