//! Limits the calls in flight. Excess calls are refused at once.
//!
//! It precedes all stages that decide or act, so an overload costs little. A permit is held while its call is in flight. The
//! limit stage applies the limits of single callers.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::{Refusal, Service};

/// Limits the calls in flight to the number of permits.
pub struct ConcurrencyLimitLayer(Arc<Semaphore>);

/// A service with a limited number of calls in flight.
pub struct ConcurrencyLimit<S> {
    permits: Arc<Semaphore>,
    inner: S,
}

impl ConcurrencyLimitLayer {
    /// Uses these permits, which all stacks of a process share.
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
