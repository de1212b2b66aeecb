//! What an answer proves of the signature that it answers: the one table of evidence.
//!
//! It looks at one answer and at what that request sent, and at nothing else: what was learned meanwhile, from other
//! answers, says nothing about this one.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

use crate::{clock::TOLERATED, upstream::Answer};

/// What an answer says of the credential that its request was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signature was looked at and accepted.
    Believed,
    /// The signature is wrong.
    Refused,
    /// The signature's date is too far from the endpoint's clock. The key is not in doubt.
    Misdated,
    /// The credential has ended: there must be another.
    Ended,
    /// Nothing: the answer may come from something that never looked at the signature.
    Nothing,
}

impl Verdict {
    /// What MPC's answer says to a request that was signed with this date. One with a token has none.
    pub fn of(answer: &Answer, dated: Option<DateTime<Utc>>) -> Self {
        if answer.status.is_success() {
            return Self::Believed;
        }
        let code = answer.error_code();
        let code = code.as_deref().unwrap_or_default();
        if answer.status != StatusCode::UNAUTHORIZED {
            // What the service itself says, it says behind the gateway, which has looked at the signature.
            return if code.starts_with("MPC.") { Self::Believed } else { Self::Nothing };
        }
        match (code, dated) {
            ("APIGW.0301", Some(dated)) => Self::unbelieved(answer, dated),
            // There is no signature that could be wrong.
            ("APIGW.0301", None) | ("APIGW.0307", _) => Self::Ended,
            _ => Self::Nothing,
        }
    }

    /// What the answer of a service that hands out credentials says. Its codes are not known, so any 401 counts.
    pub(super) fn of_exchange(answer: &Answer, dated: DateTime<Utc>) -> Self {
        match answer.status {
            status if status.is_success() => Self::Believed,
            StatusCode::UNAUTHORIZED => Self::unbelieved(answer, dated),
            _ => Self::Nothing,
        }
    }

    fn unbelieved(answer: &Answer, dated: DateTime<Utc>) -> Self {
        let misdated = answer.date().is_some_and(|date| (date - dated).abs() >= TOLERATED - LATE);
        if misdated { Self::Misdated } else { Self::Refused }
    }

    /// Whether the answer's `Date` is by the clock that signatures are judged by. An answer that accepted a date
    /// cannot itself be further from it than is tolerated: its `Date` is then of some other machine on the way.
    pub fn tells_the_time(self, answer: &Answer, dated: Option<DateTime<Utc>>) -> bool {
        let near = || match (answer.date(), dated) {
            (Some(date), Some(dated)) => (date - dated).abs() < TOLERATED,
            (Some(_), None) => true,
            (None, _) => false,
        };
        match self {
            Self::Misdated | Self::Refused => true,
            Self::Believed | Self::Ended => near(),
            Self::Nothing => false,
        }
    }
}

/// Servers write `Date` anew once a second, and it has no fraction of one.
const LATE: TimeDelta = TimeDelta::seconds(1);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, header::DATE};

    use super::*;
    use Verdict::{Believed, Ended, Misdated, Nothing, Refused};

    fn answer(status: u16, code: &str, date: DateTime<Utc>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().unwrap());
        let body = if code.is_empty() { String::new() } else { format!("{{\"error_code\":\"{code}\"}}") };
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body) }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_768_465_800, 0).unwrap()
    }

    #[test]
    fn only_what_looked_at_the_signature_says_something_about_it() {
        for (status, code, key, token) in [
            (204, "", Believed, Believed),
            (200, "", Believed, Believed),
            (400, "MPC.10213", Believed, Believed),
            (403, "MPC.10211", Believed, Believed),
            (500, "MPC.10201", Believed, Believed),
            (401, "MPC.10203", Nothing, Nothing),
            (401, "APIGW.0301", Refused, Ended),
            (401, "APIGW.0307", Ended, Ended),
            (401, "APIGW.0303", Nothing, Nothing),
            (401, "", Nothing, Nothing),
            (403, "APIGW.0302", Nothing, Nothing),
            (404, "APIGW.0101", Nothing, Nothing),
            (404, "", Nothing, Nothing),
            (429, "APIGW.0308", Nothing, Nothing),
            (500, "", Nothing, Nothing),
            (503, "APIGW.0613", Nothing, Nothing),
        ] {
            let answer = answer(status, code, now());
            assert_eq!(Verdict::of(&answer, Some(now())), key, "{status} {code}");
            assert_eq!(Verdict::of(&answer, None), token, "{status} {code} with a token");
        }
    }

    #[test]
    fn a_date_is_judged_by_that_answer_and_that_request_alone() {
        for (seconds, verdict) in
            [(-899, Misdated), (-898, Refused), (0, Refused), (898, Refused), (899, Misdated)]
        {
            let refused = answer(401, "APIGW.0301", now() + TimeDelta::seconds(seconds));
            assert_eq!(Verdict::of(&refused, Some(now())), verdict, "{seconds}");
            assert_eq!(Verdict::of_exchange(&refused, now()), verdict, "{seconds}");
        }
        let mut undated = answer(401, "APIGW.0301", now());
        undated.headers.clear();
        assert_eq!(Verdict::of(&undated, Some(now())), Refused);
    }

    #[test]
    fn the_time_is_told_by_who_judged_the_date() {
        let tells = |status, code, hours| {
            let answer = answer(status, code, now() + TimeDelta::hours(hours));
            Verdict::of(&answer, Some(now())).tells_the_time(&answer, Some(now()))
        };
        for (status, code, right, wrong) in [
            (204, "", true, false),
            (403, "MPC.10211", true, false),
            (401, "APIGW.0301", true, true),
            (401, "APIGW.0307", true, false),
            (503, "", false, false),
            (429, "APIGW.0308", false, false),
        ] {
            assert_eq!((tells(status, code, 0), tells(status, code, 1)), (right, wrong), "{status} {code}");
        }
    }
}
