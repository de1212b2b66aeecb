//! Lends the credential: [`Attempt`] → [`Entrusted`], and hears what upstream thinks of it.
//!
//! It stands between `retry` and `forward`: each attempt is lent the value in force, whole. Here the answer is looked
//! at once more for what it proves of the credential and of the endpoint's clock: one that has ended is renewed, and
//! the call signed anew and sent once more; bad signatures are counted before they lock the key. A 401 was surely not
//! carried out.

use std::sync::Arc;

use tokio::time::Instant;
use tower::Layer;

use super::{Answered, Attempt, Refusal, Service, answered::Timing, outcome::RetryRule};
use crate::{
    clock::Skew,
    credential::{CachedCredential, Lease, LeasedCredential, Verdict},
    upstream::UpstreamAnswer,
};

/// An attempt with the credential that is to sign it.
pub struct Entrusted<'a> {
    pub(super) attempt: Attempt<'a>,
    pub(super) leased: LeasedCredential,
}

/// Wraps the signing and sending of a request in `Entrust`.
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
            // A lease whose attempt fails is dropped: that says nothing about its signature.
            let answered = self.inner.call(Entrusted { attempt, leased: leased.clone() }).await?;
            let row = answered.row;
            // Before the lease is given back: whoever is let in by that signs by the right clock.
            learn(clock, &answered.answer, answered.timing, row.credential);
            cached.answered(lease, row.credential);
            let is_renewable = match row.again {
                RetryRule::Redated => clock.is_corrected(),
                // A permanent key too may have been replaced, and revoked before that was noticed.
                RetryRule::NewerCredential => true,
                RetryRule::Never
                | RetryRule::Free
                | RetryRule::Once
                | RetryRule::BackOff
                | RetryRule::WhenTold => false,
            };
            // In a box, because hardly any call comes here, and all would have the room for it.
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

/// What is lent for the next attempt: for another date the value in force, else a newer one than this.
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

/// What the answer, to a request of this date and after so long, says of the endpoint's clock.
pub(super) fn learn(clock: &Skew, answer: &UpstreamAnswer, timing: Timing, verdict: Verdict) {
    if let Some(date) = answer.date()
        && verdict.tells_the_time(answer, timing.dated)
    {
        clock.learn(date, timing.elapsed);
    }
}
