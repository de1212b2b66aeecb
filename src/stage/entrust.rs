//! Lends the credential: [`Composed`] → [`Entrusted`], and hears what upstream thinks of it.
//!
//! It stands between `retry` and `forward`: each attempt is lent the value in force, whole. Here the answer is looked
//! at once more for what it proves of the credential and of the endpoint's clock: one that has ended is renewed, and
//! the call signed anew and sent once more; bad signatures are counted before they lock the key. A 401 was surely not
//! carried out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{BoxError, Layer, Service, ServiceExt};

use super::{Answered, Composed, Refusal};
use crate::{
    credential::{Lent, Verdict},
    upstream::Answer,
};

/// A request with the credential that is to sign it.
pub struct Entrusted {
    request: Composed,
    lent: Lent,
}

/// Wraps the signing and sending of a request in `Entrust`.
#[derive(Clone)]
pub struct EntrustLayer;

/// Lends credentials.
#[derive(Clone)]
pub struct Entrust<S> {
    inner: S,
}

impl Entrusted {
    pub(super) fn request(&self) -> &Composed {
        &self.request
    }

    pub(super) fn into_parts(self) -> (Composed, Lent) {
        (self.request, self.lent)
    }
}

impl<S> Layer<S> for EntrustLayer {
    type Service = Entrust<S>;

    fn layer(&self, inner: S) -> Entrust<S> {
        Entrust { inner }
    }
}

impl<S> Service<Composed> for Entrust<S>
where
    S: Service<Entrusted, Response = Answered, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Composed) -> Self::Future {
        let entrust = self.clone();
        Box::pin(entrust.run(request))
    }
}

impl<S> Entrust<S>
where
    S: Service<Entrusted, Response = Answered, Error = BoxError> + Clone,
{
    async fn run(self, request: Composed) -> Result<Answer, BoxError> {
        let (held, deadline) = (Arc::clone(request.credential()), request.exchange().deadline);
        let mut lease = held.lease(deadline).await.map_err(Refusal::from)?;
        let mut again = true;
        loop {
            let lent = lease.lent();
            request.note_credential(&lent);
            let entrusted = Entrusted { request: request.clone(), lent: lent.clone() };
            // A lease whose attempt fails is dropped: that says nothing about its signature.
            let answered = self.inner.clone().oneshot(entrusted).await?;
            let verdict = Verdict::of(&answered.answer, answered.dated);
            // Before the lease is given back: whoever is let in by that signs by the right clock.
            learn(&request, &answered, verdict);
            held.answered(lease, verdict);
            let next = match verdict {
                Verdict::Misdated if again && request.upstream().clock().is_corrected() => {
                    // The date was wrong, and not the key; now it is known by how much.
                    held.lease(deadline).await.ok()
                }
                // A permanent key too may have been replaced, and revoked before that was noticed.
                Verdict::Refused | Verdict::Ended if again => held.lease_newer(&lent, deadline).await.ok(),
                Verdict::Believed
                | Verdict::Refused
                | Verdict::Misdated
                | Verdict::Ended
                | Verdict::Nothing => None,
            };
            match next {
                Some(next) => lease = next,
                None => {
                    if verdict == Verdict::Ended {
                        held.ended(&lent);
                    }
                    return Ok(answered.answer);
                }
            }
            again = false;
        }
    }
}

/// What the answer says of the endpoint's clock.
fn learn(request: &Composed, answered: &Answered, verdict: Verdict) {
    let Answered { answer, dated, took } = answered;
    if let Some(date) = answer.date()
        && verdict.tells_the_time(answer, *dated)
    {
        request.upstream().clock().learn(date, *took);
    }
}
