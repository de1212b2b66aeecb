//! Limits the calls in flight. What is too much is refused at once, and waits for nothing.
//!
//! It stands in front of all that decides and acts, so an overload costs little. A permit is held for as long as its call
//! is under way. The callers' own limits are the limit stage's.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::{Refusal, Service};

/// Lets through as many calls at once as there are permits.
pub struct ConcurrencyLimitLayer(Arc<Semaphore>);

/// A service with so many calls at once.
pub struct ConcurrencyLimit<S> {
    permits: Arc<Semaphore>,
    inner: S,
}

impl ConcurrencyLimitLayer {
    /// By these permits, which all stacks of a process share.
    pub fn new(permits: Arc<Semaphore>) -> Self {
        Self(permits)
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit { permits: Arc::clone(&self.0), inner }
    }
}

impl<R: Send, S> Service<R> for ConcurrencyLimit<S>
where
    S: Service<R, Error = Refusal> + Sync,
{
    type Response = S::Response;
    type Error = Refusal;

    async fn call(&self, request: R) -> Result<S::Response, Refusal> {
        let _permit = self.permits.try_acquire().map_err(|_| Refusal::Overloaded)?;
        self.inner.call(request).await
    }
}
