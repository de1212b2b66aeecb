//! What an answer proves about the signature of its request.
//!
//! It considers one answer and its request only, nothing learned from other answers meanwhile.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

use crate::{clock::TOLERATED, upstream::UpstreamAnswer};

/// What an answer says about the credential of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signature was checked and accepted.
    Accepted,
    /// The signature is wrong.
    Refused,
    /// The signature's date differs too much from the endpoint's clock. The key is not in doubt.
    Misdated,
    /// The credential has expired.
    Ended,
    /// Nothing: the answer may come from something that did not check the signature.
    Nothing,
}

impl Verdict {
    /// Returns the verdict of a service that issues credentials. Its codes are not documented, so any 401 counts.
    pub(super) fn of_exchange(answer: &UpstreamAnswer, dated: DateTime<Utc>) -> Self {
        match answer.status {
            status if status.is_success() => Self::Accepted,
            StatusCode::UNAUTHORIZED if is_misdated(answer, dated) => Self::Misdated,
            StatusCode::UNAUTHORIZED => Self::Refused,
            _ => Self::Nothing,
        }
    }

    /// Whether the answer's `Date` comes from the clock that judges signatures. If an answer accepted a date but its own
    /// `Date` is outside the tolerance, its `Date` comes from another machine in between.
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

/// Whether a rejected request's date is outside the tolerance of the answer's `Date`.
pub fn is_misdated(answer: &UpstreamAnswer, dated: DateTime<Utc>) -> bool {
    answer.date().is_some_and(|date| (date - dated).abs() >= TOLERATED - DATE_PRECISION)
}

/// Servers update `Date` once a second, and it has no fraction.
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
