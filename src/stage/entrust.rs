//! Lends each attempt the credential, and learns from the answer: [`Attempt`] → [`Entrusted`].
//!
//! It stands between `retry` and `forward`. Each attempt is lent one whole value. The answer then shows whether the
//! credential and the endpoint's clock are right: an expired credential is renewed, and the call signed again and sent once
//! more; rejected signatures are counted before they lock the key. A call answered with 401 was certainly not executed.

use std::sync::Arc;

use tokio::time::Instant;
use tower::Layer;

use super::{Answered, Attempt, Refusal, Service, answered::Timing, outcome::RetryRule};
use crate::{
    clock::Skew,
    credential::{CachedCredential, Lease, LeasedCredential, Verdict},
    upstream::UpstreamAnswer,
};

/// An attempt with the credential that will sign it.
pub struct Entrusted<'a> {
    pub(super) attempt: Attempt<'a>,
    pub(super) leased: LeasedCredential,
}

/// Wraps a service in [`Entrust`].
#[derive(Clone)]
pub struct EntrustLayer;

/// Lends credentials.
pub struct Entrust<S> {
    inner: S,
}

impl<S> Layer<S> for EntrustLayer {
    type Service = Entrust<S>;

    fn layer(&self, inner: S) -> Entrust<S> {
        Entrust { inner }
    }
}

impl<'a, S> Service<Attempt<'a>> for Entrust<S>
where
    S: for<'s> Service<Entrusted<'s>, Response = Answered, Error = Refusal> + Sync,
{
    type Response = Answered;
    type Error = Refusal;

    async fn call(&self, attempt: Attempt<'a>) -> Result<Answered, Refusal> {
        let Attempt { template, record, via } = attempt;
        let (cached, clock) = (&template.project().credential, template.project().upstream.clock());
        let deadline = template.deadline();
        let mut lease = cached.lease(deadline).await?;
        let mut again = true;
        loop {
            let leased = lease.leased();
            record.credential = Some(Arc::clone(cached.name()));
            record.key_hint = leased.credential().key_hint().map(str::to_owned);
            let attempt = Attempt { template, record: &mut *record, via };
            // A failed attempt drops its lease, because it says nothing about the signature.
            let answered = self.inner.call(Entrusted { attempt, leased: leased.clone() }).await?;
            let row = answered.row;
            // Before the lease is returned, so that the next call signs by the corrected clock.
            learn(clock, &answered.answer, answered.timing, row.credential);
            cached.answered(lease, row.credential);
            let is_renewable = match row.again {
                RetryRule::Redated => clock.is_corrected(),
                // A permanent key, too, may have been replaced and revoked before the proxy noticed.
                RetryRule::NewerCredential => true,
                RetryRule::Never
                | RetryRule::Free
                | RetryRule::Once
                | RetryRule::BackOff
                | RetryRule::WhenTold => false,
            };
            // Boxed, because few calls get here, and all would pay for the space.
            let next = if again && is_renewable {
                Box::pin(another(cached, row.again, &leased, deadline)).await
            } else {
                None
            };
            match next {
                Some(next) => lease = next,
                None => {
                    if row.credential == Verdict::Ended {
                        cached.ended(&leased);
                    }
                    return Ok(answered);
                }
            }
            again = false;
        }
    }
}

/// Leases a credential for the next attempt: the current one for another date, else a newer one.
async fn another(
    cached: &CachedCredential,
    again: RetryRule,
    leased: &LeasedCredential,
    deadline: Instant,
) -> Option<Lease> {
    if again == RetryRule::Redated {
        cached.lease(deadline).await.ok()
    } else {
        cached.lease_newer(leased, deadline).await.ok()
    }
}

/// Learns the endpoint's clock from an answer.
pub(super) fn learn(clock: &Skew, answer: &UpstreamAnswer, timing: Timing, verdict: Verdict) {
    if let Some(date) = answer.date()
        && verdict.tells_the_time(answer, timing.dated)
    {
        clock.learn(date, timing.elapsed);
    }
}
