//! What an answer proves of the signature that it answers.
//!
//! It looks at one answer and at what that request sent, and at nothing else: what was learned meanwhile, from other
//! answers, says nothing about this one.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

use crate::{clock::TOLERATED, upstream::UpstreamAnswer};

/// What an answer says of the credential that its request was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signature was looked at and accepted.
    Accepted,
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
    /// What the answer of a service that hands out credentials says. Its codes are not known, so any 401 counts.
    pub(super) fn of_exchange(answer: &UpstreamAnswer, dated: DateTime<Utc>) -> Self {
        match answer.status {
            status if status.is_success() => Self::Accepted,
            StatusCode::UNAUTHORIZED if is_misdated(answer, dated) => Self::Misdated,
            StatusCode::UNAUTHORIZED => Self::Refused,
            _ => Self::Nothing,
        }
    }

    /// Whether the answer's `Date` is by the clock that signatures are judged by. An answer that accepted a date
    /// cannot itself be further from it than is tolerated: its `Date` is then of some other machine on the way.
    pub fn tells_the_time(self, answer: &UpstreamAnswer, dated: Option<DateTime<Utc>>) -> bool {
        let near = || match (answer.date(), dated) {
            (Some(date), Some(dated)) => (date - dated).abs() < TOLERATED,
            (Some(_), None) => true,
            (None, _) => false,
        };
        match self {
            Self::Misdated | Self::Refused => true,
            Self::Accepted | Self::Ended => near(),
            Self::Nothing => false,
        }
    }
}

/// Whether a request that was not believed had a date too far from the answer's own.
pub fn is_misdated(answer: &UpstreamAnswer, dated: DateTime<Utc>) -> bool {
    answer.date().is_some_and(|date| (date - dated).abs() >= TOLERATED - DATE_PRECISION)
}

/// Servers write `Date` anew once a second, and it has no fraction of one.
const DATE_PRECISION: TimeDelta = TimeDelta::seconds(1);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, header::DATE};

    use super::*;
    use Verdict::{Accepted, Ended, Misdated, Nothing, Refused};

    fn answer(status: u16, code: &str, date: DateTime<Utc>) -> UpstreamAnswer {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().unwrap());
        let body = if code.is_empty() { String::new() } else { format!("{{\"error_code\":\"{code}\"}}") };
        UpstreamAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body) }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_768_465_800, 0).unwrap()
    }

    #[test]
    fn a_date_is_judged_by_that_answer_and_that_request_alone() {
        for (seconds, verdict) in
            [(-899, Misdated), (-898, Refused), (0, Refused), (898, Refused), (899, Misdated)]
        {
            let refused = answer(401, "APIGW.0301", now() + TimeDelta::seconds(seconds));
            assert_eq!(Verdict::of_exchange(&refused, now()), verdict, "{seconds}");
        }
        let mut undated = answer(401, "APIGW.0301", now());
        undated.headers.clear();
        assert_eq!(Verdict::of_exchange(&undated, now()), Refused);
    }

    #[test]
    fn the_time_is_told_by_who_judged_the_date() {
        let tells = |verdict: Verdict, hours| {
            let answer = answer(204, "", now() + TimeDelta::hours(hours));
            verdict.tells_the_time(&answer, Some(now()))
        };
        for (verdict, right, wrong) in [
            (Accepted, true, false),
            (Refused, true, true),
            (Misdated, true, true),
            (Ended, true, false),
            (Nothing, false, false),
        ] {
            assert_eq!((tells(verdict, 0), tells(verdict, 1)), (right, wrong), "{verdict:?}");
        }
    }
}
