//! With which credential? [`Composed`] → [`Entrusted`], and what upstream thinks of it.
//!
//! It stands between `retry` and `sign`: each attempt is lent the value in force, whole. Here the answer is looked at
//! once more for what it says of the credential: one that has ended is renewed, and the call signed anew and sent
//! once more; bad signatures are counted before they lock the key. A 401 was surely not carried out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use chrono::TimeDelta;
use http::StatusCode;
use tower::{BoxError, Layer, Service, ServiceExt, util::Oneshot};

use super::{Composed, Refusal};
use crate::{clock::Skew, credential::Lease, upstream::Answer};

/// A request with the credential that is to sign it.
pub struct Entrusted {
    request: Composed,
    lease: Lease,
}

/// Wraps the signing and sending of a request in `Entrust`.
#[derive(Clone)]
pub struct EntrustLayer {
    skew: Skew,
}

/// Lends credentials.
#[derive(Clone)]
pub struct Entrust<S> {
    inner: S,
    skew: Skew,
}

/// What an answer says of the credential.
#[derive(PartialEq, Eq)]
enum Verdict {
    Believed,
    /// The signature is wrong.
    Doubted,
    /// It must be renewed.
    Ended,
}

impl Entrusted {
    pub(super) fn into_parts(self) -> (Composed, Lease) {
        (self.request, self.lease)
    }
}

impl EntrustLayer {
    /// Lends each request its project's credential. Knows by the cloud's clock whether a date was wrong, or a key.
    pub fn new(skew: Skew) -> Self {
        Self { skew }
    }
}

impl<S> Layer<S> for EntrustLayer {
    type Service = Entrust<S>;

    fn layer(&self, inner: S) -> Entrust<S> {
        Entrust { inner, skew: self.skew.clone() }
    }
}

impl<S> Service<Composed> for Entrust<S>
where
    S: Service<Entrusted, Response = Answer, Error = BoxError> + Clone + Send + 'static,
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
    S: Service<Entrusted, Response = Answer, Error = BoxError> + Clone,
{
    async fn run(self, request: Composed) -> Result<Answer, BoxError> {
        let (held, deadline) = (Arc::clone(request.credential()), request.exchange().deadline);
        let lease = held.lease(deadline).await.map_err(Refusal::from)?;
        let skew = self.skew.measured();
        let answer = self.attempt(&request, &lease).await?;
        let verdict = Verdict::of(&answer);
        if verdict == Verdict::Believed {
            held.believed(&lease);
            return Ok(answer);
        }
        let doubted = verdict == Verdict::Doubted;
        let again = if doubted && (self.skew.measured() - skew).abs() >= TOLERATED {
            // The date was wrong, and not the key; now it is known by how much.
            Some(lease)
        } else {
            if doubted {
                held.doubted(&lease);
            }
            // A permanent key too may have been replaced, and revoked before that was noticed.
            held.lease_newer(&lease, deadline).await.ok()
        };
        let Some(lease) = again else { return Ok(answer) };
        let answer = self.attempt(&request, &lease).await?;
        match Verdict::of(&answer) {
            Verdict::Believed => held.believed(&lease),
            Verdict::Doubted => held.doubted(&lease),
            Verdict::Ended => {}
        }
        Ok(answer)
    }

    fn attempt(&self, request: &Composed, lease: &Lease) -> Oneshot<S, Entrusted> {
        self.inner.clone().oneshot(Entrusted { request: request.clone(), lease: lease.clone() })
    }
}

impl Verdict {
    fn of(answer: &Answer) -> Self {
        if answer.status != StatusCode::UNAUTHORIZED {
            return Self::Believed;
        }
        match answer.error_code().as_deref() {
            Some("APIGW.0301") => Self::Doubted,
            Some("APIGW.0307") => Self::Ended,
            _ => Self::Believed,
        }
    }
}

/// The gateway refuses a signature whose date is further off.
const TOLERATED: TimeDelta = TimeDelta::minutes(15);
