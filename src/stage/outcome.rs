//! The one table of the outcomes of attempts.
//!
//! Each outcome has one row: whether the attempt is retried, what it says about upstream and the credential, what the caller
//! is told, and how it is recorded and counted. The stages follow it and judge nothing themselves.

use chrono::{DateTime, Utc};

use super::details::RefusalDetails;
use crate::{
    audit::Outcome,
    credential::{Verdict, is_misdated},
    reason::{Code, Reason},
    upstream::{DialError, Evidence, InvalidAnswer, SendError, UpstreamAnswer},
};

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum AttemptOutcome<'e> {
    /// It got no acceptable answer.
    Failed(&'e SendError),
    /// It got an answer.
    Answered(Reply),
}

/// The meaning of an answer. One with an `MPC.*` code comes from the service itself, so the gateway has accepted the
/// signature. Any other may come from anything in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 2xx.
    Done,
    /// The service declines it.
    Declined,
    /// The service throttles.
    Throttled,
    /// The service is not available.
    Unavailable,
    /// The service fails.
    Broken,
    /// The signature is wrong.
    BadSignature,
    /// The signature's date is wrong by the endpoint's clock.
    BadDate,
    /// The credential has expired.
    Ended,
    /// Something in between rejects it.
    Stopped,
    /// The gateway throttles, and has passed nothing on.
    Limited,
    /// Something in between throttles.
    StoppedForNow,
    /// Something in between, or the service, is not available.
    NotReached,
    /// Something in between fails.
    BrokenOnTheWay,
}

/// The consequences of an outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Whether a retry is safe and useful.
    pub(super) again: RetryRule,
    /// The evidence for the circuit breaker.
    pub(super) upstream: Evidence,
    /// The verdict for the credential's health.
    pub(super) credential: Verdict,
    /// The caller's refusal, if this is the last attempt and has no answer.
    pub(super) refusal: Option<RefusalDetails>,
    /// The `kind` under which `upstream_errors` counts it.
    pub(super) counted: Option<&'static str>,
}

/// Whether and when to make another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryRule {
    /// Never: it may have been executed, or would fail again.
    Never,
    /// At once, without charging the budget: upstream has seen nothing of it.
    Free,
    /// At once, if configured: the call is idempotent.
    Once,
    /// After a pause.
    BackOff,
    /// When upstream says, if that is soon.
    WhenTold,
    /// With a date corrected by the answer's clock.
    Redated,
    /// With a newer credential.
    NewerCredential,
}

impl<'e> AttemptOutcome<'e> {
    /// Classifies the result of an attempt whose request was signed with this date.
    pub(super) fn of(result: &'e Result<UpstreamAnswer, SendError>, dated: Option<DateTime<Utc>>) -> Self {
        match result {
            Ok(answer) => Self::Answered(Reply::of(answer, dated)),
            Err(error) => Self::Failed(error),
        }
    }

    /// The table.
    pub(super) fn row(self) -> Row {
        use DialError::{Connect, Dns, Proxy, Timeout, Tls, Useless};
        use Evidence::{Fails, Nothing, Vanishes, Works};
        use RetryRule::{BackOff, Free, Never, NewerCredential, Once, Redated, WhenTold};
        use SendError::{Closed, Dial, Stale, Unsent};

        let failed = |again, upstream, refusal, kind| {
            let credential = Verdict::Nothing;
            Row { again, upstream, credential, refusal: Some(refusal), counted: Some(kind) }
        };
        let answered =
            |again, upstream, credential| Row { again, upstream, credential, refusal: None, counted: None };
        match self {
            // Not a byte of the request was written.
            Self::Failed(Dial(Dns(_))) => failed(BackOff, Fails, DNS, "connect"),
            Self::Failed(Dial(Connect(_))) => failed(BackOff, Fails, CONNECT, "connect"),
            Self::Failed(Dial(Timeout)) => failed(BackOff, Fails, CONNECT_TIMEOUT, "connect"),
            Self::Failed(Dial(Useless)) => failed(BackOff, Fails, UNUSABLE_CONNECTION, "connect"),
            Self::Failed(Dial(error @ Tls(_))) => failed(unless_persistent(error), Fails, TLS, "connect"),
            Self::Failed(Dial(error @ Proxy(_))) => {
                failed(unless_persistent(error), Fails, EGRESS, "connect")
            }
            Self::Failed(Unsent) => failed(Free, Nothing, UNSENT, "closed"),
            // It may have been executed.
            Self::Failed(Stale) => failed(Once, Nothing, STALE, "stale"),
            Self::Failed(Closed) => failed(Never, Vanishes, CLOSED, "closed"),
            Self::Failed(SendError::Timeout) => failed(Never, Vanishes, TIMED_OUT, "timeout"),
            Self::Failed(SendError::Invalid(invalid)) => {
                failed(Never, Vanishes, of_invalid(*invalid), "invalid")
            }
            // Upstream answered.
            Self::Answered(Reply::Done) => answered(Never, Works, Verdict::Accepted),
            Self::Answered(Reply::Declined) => answered(Never, Works, Verdict::Accepted),
            Self::Answered(Reply::Throttled) => answered(WhenTold, Works, Verdict::Accepted),
            Self::Answered(Reply::Unavailable) => answered(WhenTold, Fails, Verdict::Accepted),
            Self::Answered(Reply::Broken) => answered(Never, Fails, Verdict::Accepted),
            Self::Answered(Reply::BadSignature) => answered(NewerCredential, Works, Verdict::Refused),
            Self::Answered(Reply::BadDate) => answered(Redated, Works, Verdict::Misdated),
            Self::Answered(Reply::Ended) => answered(NewerCredential, Works, Verdict::Ended),
            Self::Answered(Reply::Stopped) => answered(Never, Works, Verdict::Nothing),
            Self::Answered(Reply::Limited) => answered(WhenTold, Works, Verdict::Nothing),
            Self::Answered(Reply::StoppedForNow) => answered(WhenTold, Works, Verdict::Nothing),
            Self::Answered(Reply::NotReached) => answered(WhenTold, Fails, Verdict::Nothing),
            Self::Answered(Reply::BrokenOnTheWay) => answered(Never, Fails, Verdict::Nothing),
        }
    }

    /// Whether it was certainly not executed, so that even a call that is not idempotent may be repeated.
    pub(super) fn is_surely_undone(self) -> bool {
        match self {
            Self::Failed(_) => self.row().sent_nothing(),
            // The gateway rejected it and passed nothing on.
            Self::Answered(Reply::BadSignature | Reply::BadDate | Reply::Ended | Reply::Limited) => true,
            Self::Answered(_) => false,
        }
    }
}

/// Returns what an answer says about the credential. `dated` is the date of the signature; a token has none.
pub fn verdict(answer: &UpstreamAnswer, dated: Option<DateTime<Utc>>) -> Verdict {
    AttemptOutcome::Answered(Reply::of(answer, dated)).row().credential
}

/// Returns the rule for a failed dial: an invalid certificate will not change.
fn unless_persistent(error: &DialError) -> RetryRule {
    if error.is_persistent() { RetryRule::Never } else { RetryRule::BackOff }
}

fn of_invalid(invalid: InvalidAnswer) -> RefusalDetails {
    let (reason, proxy_error) = match invalid {
        InvalidAnswer::Cut => (Reason::AnswerCut, "http_response_incomplete"),
        InvalidAnswer::TooLarge => (Reason::AnswerTooLarge, "http_response_body_size"),
        InvalidAnswer::Encoded => (Reason::AnswerEncoded, "http_response_content_coding"),
        InvalidAnswer::Malformed => (Reason::AnswerMalformed, "http_protocol_error"),
        InvalidAnswer::Status => (Reason::AnswerStatus, "http_protocol_error"),
    };
    unacceptable(reason, proxy_error)
}

impl Reply {
    /// Classifies an answer. `dated` is the date of the signature; a token has none.
    fn of(answer: &UpstreamAnswer, dated: Option<DateTime<Utc>>) -> Self {
        let code = answer.error_code();
        let code = code.as_deref().unwrap_or_default();
        match (answer.status.as_u16(), code.starts_with("MPC.")) {
            (200..=299, _) => Self::Done,
            (401, _) => match (code, dated) {
                ("APIGW.0301", Some(dated)) if is_misdated(answer, dated) => Self::BadDate,
                ("APIGW.0301", Some(_)) => Self::BadSignature,
                // A token has no signature that could be wrong.
                ("APIGW.0301", None) | ("APIGW.0307", _) => Self::Ended,
                _ => Self::Stopped,
            },
            (429, true) => Self::Throttled,
            (429, false) if code == "APIGW.0308" => Self::Limited,
            (429, false) => Self::StoppedForNow,
            (503, true) => Self::Unavailable,
            (503, false) => Self::NotReached,
            // Other 5xx statuses, such as 501, concern the call.
            (500 | 502 | 504, true) => Self::Broken,
            (500 | 502 | 504, false) => Self::BrokenOnTheWay,
            (_, true) => Self::Declined,
            (_, false) => Self::Stopped,
        }
    }
}

impl Row {
    /// Returns the recorded outcome, if it is the last.
    pub(super) fn outcome(&self) -> Outcome {
        self.refusal.as_ref().map_or(Outcome::Forwarded, |refusal| refusal.outcome)
    }

    /// Whether not one byte of the request was written.
    pub(super) fn sent_nothing(&self) -> bool {
        self.outcome() == Outcome::Failed
    }
}

/// The details if nothing was sent.
const fn unreachable(reason: Reason, proxy_error: &'static str) -> RefusalDetails {
    RefusalDetails { code: Code::UpstreamUnreachable, reason, proxy_error, outcome: Outcome::Failed }
}

/// The details if it may have been executed.
const fn unacceptable(reason: Reason, proxy_error: &'static str) -> RefusalDetails {
    RefusalDetails { code: Code::UpstreamInvalid, reason, proxy_error, outcome: Outcome::Unknown }
}

const DNS: RefusalDetails = unreachable(Reason::UpstreamDns, "dns_error");
const CONNECT: RefusalDetails = unreachable(Reason::UpstreamConnect, "connection_refused");
const CONNECT_TIMEOUT: RefusalDetails = unreachable(Reason::UpstreamConnectTimeout, "connection_timeout");
const UNUSABLE_CONNECTION: RefusalDetails = unreachable(Reason::UpstreamUseless, "connection_terminated");
const TLS: RefusalDetails = unreachable(Reason::UpstreamTls, "tls_protocol_error");
const EGRESS: RefusalDetails = unreachable(Reason::UpstreamEgress, "destination_unavailable");
const UNSENT: RefusalDetails = unreachable(Reason::UpstreamUnsent, "connection_terminated");
const STALE: RefusalDetails = unacceptable(Reason::UpstreamStale, "connection_terminated");
const CLOSED: RefusalDetails = unacceptable(Reason::UpstreamClosed, "connection_terminated");
const TIMED_OUT: RefusalDetails = RefusalDetails {
    code: Code::UpstreamTimeout,
    reason: Reason::UpstreamTimeout,
    proxy_error: "http_response_timeout",
    outcome: Outcome::Unknown,
};

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use chrono::TimeDelta;
    use http::{HeaderMap, StatusCode, header::DATE};

    use super::*;
    use crate::upstream::ProxyError;

    /// Formats a row: retry, upstream, credential; the refusal; outcome and kind.
    fn line(ending: AttemptOutcome<'_>) -> String {
        let row = ending.row();
        let Row { again, upstream, credential, refusal, counted } = &row;
        let said = refusal.as_ref().map(|facts| {
            let RefusalDetails { code, reason, proxy_error, .. } = facts;
            format!("{} {} {} {proxy_error}", facts.status().as_u16(), code.as_str(), reason.as_str())
        });
        let (said, counted) = (said.as_deref().unwrap_or("-"), counted.unwrap_or("-"));
        format!("{again:?} {upstream:?} {credential:?} {said} {} {counted}", row.outcome().as_str())
    }

    #[test]
    fn each_failure_has_its_row() {
        let broken = || Box::new(io::Error::other("broken"));
        let untrusted = io::Error::other(rustls::Error::from(rustls::CertificateError::UnknownIssuer));
        let failures: [SendError; 17] = [
            DialError::Dns(broken()).into(),
            DialError::Connect(broken()).into(),
            DialError::Timeout.into(),
            DialError::Useless.into(),
            DialError::Tls(*broken()).into(),
            DialError::Tls(untrusted).into(),
            DialError::Proxy(ProxyError::Timeout).into(),
            DialError::Proxy(ProxyError::Refused(403)).into(),
            SendError::Unsent,
            SendError::Stale,
            SendError::Closed,
            SendError::Timeout,
            SendError::Invalid(InvalidAnswer::Cut),
            SendError::Invalid(InvalidAnswer::TooLarge),
            SendError::Invalid(InvalidAnswer::Encoded),
            SendError::Invalid(InvalidAnswer::Malformed),
            SendError::Invalid(InvalidAnswer::Status),
        ];
        let found: Vec<String> = failures.iter().map(|error| line(AttemptOutcome::Failed(error))).collect();
        assert_eq!(found, ROWS.lines().collect::<Vec<_>>());
    }

    const ROWS: &str = "\
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_dns dns_error failed connect
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_connect connection_refused failed connect
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_connect_timeout connection_timeout failed connect
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_useless connection_terminated failed connect
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_tls tls_protocol_error failed connect
Never Fails Nothing 502 PROXY.UpstreamUnreachable upstream_tls tls_protocol_error failed connect
BackOff Fails Nothing 502 PROXY.UpstreamUnreachable upstream_egress destination_unavailable failed connect
Never Fails Nothing 502 PROXY.UpstreamUnreachable upstream_egress destination_unavailable failed connect
Free Nothing Nothing 502 PROXY.UpstreamUnreachable upstream_unsent connection_terminated failed closed
Once Nothing Nothing 502 PROXY.UpstreamInvalid upstream_stale connection_terminated unknown stale
Never Vanishes Nothing 502 PROXY.UpstreamInvalid upstream_closed connection_terminated unknown closed
Never Vanishes Nothing 504 PROXY.UpstreamTimeout upstream_timeout http_response_timeout unknown timeout
Never Vanishes Nothing 502 PROXY.UpstreamInvalid answer_cut http_response_incomplete unknown invalid
Never Vanishes Nothing 502 PROXY.UpstreamInvalid answer_too_large http_response_body_size unknown invalid
Never Vanishes Nothing 502 PROXY.UpstreamInvalid answer_encoded http_response_content_coding unknown invalid
Never Vanishes Nothing 502 PROXY.UpstreamInvalid answer_malformed http_protocol_error unknown invalid
Never Vanishes Nothing 502 PROXY.UpstreamInvalid answer_status http_protocol_error unknown invalid
";

    #[test]
    fn each_answer_has_its_row() {
        let answer = |status: u16, code: &str, minutes| {
            let date = now() + TimeDelta::minutes(minutes);
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().unwrap());
            let body = if code.is_empty() { String::new() } else { format!("{{\"error_code\":\"{code}\"}}") };
            UpstreamAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body) }
        };
        // Signed with a key, and sent with a token.
        for (status, code, minutes, key, token) in [
            (204, "", 0, "Never Works Accepted", "Never Works Accepted"),
            (200, "", 0, "Never Works Accepted", "Never Works Accepted"),
            (400, "MPC.10213", 0, "Never Works Accepted", "Never Works Accepted"),
            (403, "MPC.10211", 0, "Never Works Accepted", "Never Works Accepted"),
            (501, "MPC.10200", 0, "Never Works Accepted", "Never Works Accepted"),
            (429, "MPC.10230", 0, "WhenTold Works Accepted", "WhenTold Works Accepted"),
            (500, "MPC.10201", 0, "Never Fails Accepted", "Never Fails Accepted"),
            (503, "MPC.10201", 0, "WhenTold Fails Accepted", "WhenTold Fails Accepted"),
            (401, "MPC.10203", 0, "Never Works Nothing", "Never Works Nothing"),
            (401, "APIGW.0301", 0, "NewerCredential Works Refused", "NewerCredential Works Ended"),
            (401, "APIGW.0301", 15, "Redated Works Misdated", "NewerCredential Works Ended"),
            (401, "APIGW.0307", 0, "NewerCredential Works Ended", "NewerCredential Works Ended"),
            (401, "APIGW.0303", 0, "Never Works Nothing", "Never Works Nothing"),
            (401, "", 0, "Never Works Nothing", "Never Works Nothing"),
            (403, "APIGW.0302", 0, "Never Works Nothing", "Never Works Nothing"),
            (404, "APIGW.0101", 0, "Never Works Nothing", "Never Works Nothing"),
            (404, "", 0, "Never Works Nothing", "Never Works Nothing"),
            (501, "", 0, "Never Works Nothing", "Never Works Nothing"),
            (429, "APIGW.0308", 0, "WhenTold Works Nothing", "WhenTold Works Nothing"),
            (500, "", 0, "Never Fails Nothing", "Never Fails Nothing"),
            (502, "", 0, "Never Fails Nothing", "Never Fails Nothing"),
            (503, "APIGW.0613", 0, "WhenTold Fails Nothing", "WhenTold Fails Nothing"),
            (504, "", 0, "Never Fails Nothing", "Never Fails Nothing"),
        ] {
            let answer = answer(status, code, minutes);
            for (dated, expected) in [(Some(now()), key), (None, token)] {
                let row = line(AttemptOutcome::Answered(Reply::of(&answer, dated)));
                assert_eq!(row, format!("{expected} - forwarded -"), "{status} {code}");
            }
        }
    }

    /// Calls that are not idempotent are repeated after these outcomes only.
    #[test]
    fn what_was_surely_not_carried_out_is_a_short_list() {
        let answer = |status: u16, code: &str| {
            let body = Bytes::from(format!("{{\"error_code\":\"{code}\"}}"));
            UpstreamAnswer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body }
        };
        for (status, code, undone) in [
            (401, "APIGW.0301", true),
            (401, "APIGW.0307", true),
            (429, "APIGW.0308", true),
            (401, "APIGW.0303", false),
            (429, "MPC.10230", false),
            (429, "APIGW.0309", false),
            (503, "APIGW.0613", false),
            (503, "MPC.10201", false),
            (200, "", false),
        ] {
            let reply = Reply::of(&answer(status, code), Some(now()));
            assert_eq!(AttemptOutcome::Answered(reply).is_surely_undone(), undone, "{status} {code}");
        }
        for (error, undone) in [
            (DialError::Timeout.into(), true),
            (SendError::Unsent, true),
            (SendError::Stale, false),
            (SendError::Closed, false),
            (SendError::Timeout, false),
            (SendError::Invalid(InvalidAnswer::Cut), false),
        ] {
            assert_eq!(AttemptOutcome::Failed(&error).is_surely_undone(), undone, "{error}");
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_768_465_800, 0).unwrap()
    }
}
