//! Retries attempts that are safe to repeat: those certainly not executed, and once after a stale connection.
//!
//! It stands between `compose` and `sign`, so every attempt is signed again. The table in `outcome` says what is safe.
//! Anything else is never repeated, and the caller is told that the outcome is unknown. Retries stay a small share of all
//! calls, because they do not help an upstream that fails for everybody.

use std::{mem::take, ops::ControlFlow, time::Duration};

use chrono::{DateTime, Utc};
use http::header::RETRY_AFTER;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{
    Answered, Attempt, Composed, Refusal, Service,
    compose::RequestTemplate,
    outcome::{AttemptOutcome, RetryRule},
};
use crate::{
    clock,
    config::Stale,
    limit::ByteReservation,
    upstream::{ConnectionChoice, SendError, UpstreamAnswer},
};

/// Upstream's answer, and whether an earlier attempt may have caused it.
pub struct Delivered {
    /// The answer of the last attempt that had one.
    pub answer: UpstreamAnswer,
    /// The memory that it holds.
    pub(super) room: ByteReservation,
    /// Whether an earlier attempt may have been executed: it was written to a connection that turned out to be dead.
    pub after_stale: bool,
}

/// Wraps a service that makes one attempt in [`Retry`].
#[derive(Clone)]
pub struct RetryLayer {
    attempts: u32,
    stale: Stale,
}

/// Repeats attempts that are safe to repeat.
pub struct Retry<S> {
    attempt: S,
    rules: RetryLayer,
}

impl RetryLayer {
    /// Makes at most `attempts` attempts, plus one if a reused connection turned out to be closed, and one if `stale` allows
    /// it after one that died.
    pub fn new(attempts: u32, stale: Stale) -> Self {
        Self { attempts, stale }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, attempt: S) -> Retry<S> {
        Retry { attempt, rules: self.clone() }
    }
}

impl<'r, S> Service<Composed<'r>> for Retry<S>
where
    S: for<'a> Service<Attempt<'a>, Response = Answered, Error = Refusal> + Sync,
{
    type Response = Delivered;
    type Error = Refusal;

    async fn call(&self, request: Composed<'r>) -> Result<Delivered, Refusal> {
        let Composed { template, record } = request;
        template.project().upstream.budget().call();
        // A call that is not idempotent needs a connection on which its outcome can be known.
        let via = if template.is_idempotent() { ConnectionChoice::Pooled } else { ConnectionChoice::Fresh };
        let (mut attempts, mut via) = (Attempts::default(), via);
        loop {
            let attempt = Attempt { template: &template, record: &mut *record, via };
            let result = self.attempt.call(attempt).await;
            let pause = match self.rules.follow(result, &mut attempts, &template) {
                ControlFlow::Continue(pause) => pause,
                ControlFlow::Break(concluded) => return concluded,
            };
            // Meanwhile the call holds only its permit; its connection is back in the pool or closed.
            sleep(pause).await;
            via = ConnectionChoice::Fresh;
        }
    }
}

/// The attempts of a call so far.
#[derive(Default)]
struct Attempts {
    attempts: u32,
    /// Whether one of them was written to a connection that turned out to be dead.
    stale: bool,
    /// Upstream's answer that asked to retry later.
    busy: Option<Box<(UpstreamAnswer, ByteReservation)>>,
    /// Why upstream could not be reached.
    failed: Option<Refusal>,
}

/// Looks up the retry rule. An attempt that was not made is not retried, and a call that is not idempotent only if it was
/// certainly not executed.
fn when(result: &Result<Answered, Refusal>, is_idempotent: bool) -> RetryRule {
    let (again, undone) = match result {
        Ok(answered) => (answered.row.again, answered.undone),
        Err(Refusal::Upstream(error)) => {
            let ending = AttemptOutcome::Failed(error);
            (ending.row().again, ending.is_surely_undone())
        }
        Err(_) => (RetryRule::Never, true),
    };
    if is_idempotent || undone { again } else { RetryRule::Never }
}

impl RetryLayer {
    /// Decides what follows an attempt: another one after a pause, or the result for the caller.
    fn follow(
        &self,
        result: Result<Answered, Refusal>,
        attempts: &mut Attempts,
        template: &RequestTemplate,
    ) -> ControlFlow<Result<Delivered, Refusal>, Duration> {
        attempts.attempts += 1;
        let again = when(&result, template.is_idempotent());
        let is_affordable = || again == RetryRule::Free || template.project().upstream.budget().retry();
        let pause = self.pause(again, &result, attempts);
        let pause = pause.filter(|pause| Instant::now() + *pause < template.deadline() && is_affordable());
        match pause {
            Some(pause) => {
                attempts.note(result);
                ControlFlow::Continue(pause)
            }
            None => ControlFlow::Break(take(attempts).conclude(result)),
        }
    }

    /// Returns the pause before the next attempt. `None` if there is none.
    fn pause(
        &self,
        again: RetryRule,
        result: &Result<Answered, Refusal>,
        attempts: &Attempts,
    ) -> Option<Duration> {
        let left = attempts.attempts < self.attempts;
        match (again, result) {
            // A new connection cannot fail this way, so this does not loop for ever.
            (RetryRule::Free, _) => Some(Duration::ZERO),
            (RetryRule::Once, _) => (self.stale == Stale::Once && !attempts.stale).then_some(Duration::ZERO),
            (RetryRule::BackOff, _) if left => Some(back_off(attempts.attempts)),
            (RetryRule::WhenTold, Ok(Answered { answer, .. })) if left && attempts.busy.is_none() => {
                let after = retry_after(answer, clock::now()).filter(|after| *after <= MAX_RETRY_AFTER)?;
                // Jitter, because others were told the same time.
                Some(after + FIRST_BACKOFF.mul_f64(fastrand::f64()))
            }
            _ => None,
        }
    }
}

impl Attempts {
    /// Keeps what matters of an attempt after the next one.
    fn note(&mut self, result: Result<Answered, Refusal>) {
        match result {
            Ok(answered) => self.busy = Some(Box::new((answered.answer, answered.room))),
            Err(Refusal::Upstream(SendError::Stale)) => self.stale = true,
            Err(error @ Refusal::Upstream(SendError::Dial(_))) => self.failed = Some(error),
            Err(_) => {}
        }
    }

    /// Returns the result for the caller after the last attempt.
    fn conclude(self, last: Result<Answered, Refusal>) -> Result<Delivered, Refusal> {
        let Self { stale, busy, failed, .. } = self;
        let refusal = match last {
            Ok(Answered { answer, room, .. }) => return Ok(Delivered { answer, room, after_stale: stale }),
            Err(refusal) => refusal,
        };
        let failure = if let Refusal::Upstream(error) = &refusal { Some(error) } else { None };
        let is_last_word = match failure {
            Some(error) => !AttemptOutcome::Failed(error).row().sent_nothing(),
            // A revoked permission is reported, unless an earlier attempt may have been executed.
            None => !stale && refusal.is_a_decision(),
        };
        if is_last_word {
            return Err(refusal);
        }
        // The last attempt sent nothing, so an earlier one that did decides.
        match busy {
            Some(busy) => {
                let (answer, room) = *busy;
                Ok(Delivered { answer, room, after_stale: stale })
            }
            None if stale => Err(SendError::Stale.into()),
            None if failure.is_some() => Err(refusal),
            // The breaker opened because of this failure, which is the real reason.
            None => Err(failed.unwrap_or(refusal)),
        }
    }
}

/// Returns the pause, which doubles with every attempt. Half of it is random, so that calls that failed together are not
/// retried together.
fn back_off(attempts: u32) -> Duration {
    let whole = FIRST_BACKOFF * 2_u32.pow(attempts.clamp(1, 6) - 1);
    whole / 2 + (whole / 2).mul_f64(fastrand::f64())
}

/// Returns upstream's `Retry-After` (RFC 9110, section 10.2.3).
fn retry_after(answer: &UpstreamAnswer, now: DateTime<Utc>) -> Option<Duration> {
    let after = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    if after.bytes().all(|b| b.is_ascii_digit()) {
        return after.parse().ok().map(Duration::from_secs);
    }
    let after = httpdate::parse_http_date(after).ok().map(DateTime::<Utc>::from)?;
    // By upstream's clock, if it sends `Date`.
    Some((after - answer.date().unwrap_or(now)).to_std().unwrap_or_default())
}

/// The longest `Retry-After` to wait for here. Beyond it the caller decides whether to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);
/// The longest pause before the second attempt; it doubles for the third.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, header::DATE};

    use super::*;

    #[test]
    fn upstream_is_left_alone_for_as_long_as_it_says() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        for (after, date, seconds) in [
            ("0", None, Some(0)),
            ("2", None, Some(2)),
            ("120", None, Some(120)),
            ("Sun, 06 Nov 1994 08:49:39 GMT", None, Some(2)),
            ("Sunday, 06-Nov-94 08:49:39 GMT", None, Some(2)),
            ("Sun Nov  6 08:49:39 1994", None, Some(2)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", None, Some(0)),
            ("Sun, 06 Nov 1994 08:50:01 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT"), Some(1)),
            ("Sun, 06 Nov 1994 08:49:39 GMT", Some("just now"), Some(2)),
            ("", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("99999999999999999999", None, None),
            ("soon", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            let answer =
                UpstreamAnswer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() };
            assert_eq!(retry_after(&answer, now), seconds.map(Duration::from_secs), "{after}");
        }
        let silent = UpstreamAnswer {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        assert_eq!(retry_after(&silent, now), None);
    }

    #[test]
    fn pauses_double_and_differ() {
        for (attempts, longest) in [(1, 50), (2, 100), (3, 200), (9, 1600)] {
            let pauses: Vec<Duration> = (0..50).map(|_| back_off(attempts)).collect();
            let longest = Duration::from_millis(longest);
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
