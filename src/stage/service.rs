//! The traits that join stages: services called by reference, and deciding stages as plain functions.
//!
//! [`Service`] is tower's without readiness and with `&self`, like hyper's. So a request can borrow its record, and a call
//! clones no service and boxes no future. `tower::ServiceBuilder` and `tower::Layer` combine them.

use tower::Layer;

use super::Refusal;

/// A part of the request path, with everything it wraps.
pub trait Service<Request> {
    /// The result.
    type Response;
    /// The error.
    type Error;

    /// Answers a request.
    fn call(&self, request: Request) -> impl Future<Output = Result<Self::Response, Self::Error>> + Send;
}

/// A stage that decides: without waiting, it either makes the next type of a request or refuses it.
pub trait Stage<Before> {
    /// The type that only this stage makes.
    type After;

    /// Decides.
    ///
    /// # Errors
    /// The refusal of the request.
    fn check(&self, request: Before) -> Result<Self::After, Refusal>;
}

/// Puts a stage in front of a service.
pub struct StageLayer<C>(C);

/// A service behind a stage.
pub struct Staged<C, S> {
    stage: C,
    inner: S,
}

impl<C> StageLayer<C> {
    /// Passes on what this stage makes.
    pub fn new(stage: C) -> Self {
        Self(stage)
    }
}

impl<C: Clone, S> Layer<S> for StageLayer<C> {
    type Service = Staged<C, S>;

    fn layer(&self, inner: S) -> Staged<C, S> {
        Staged { stage: self.0.clone(), inner }
    }
}

impl<Before, C, S> Service<Before> for Staged<C, S>
where
    Before: Send,
    C: Stage<Before> + Sync,
    C::After: Send,
    S: Service<C::After, Error = Refusal> + Sync,
{
    type Response = S::Response;
    type Error = Refusal;

    async fn call(&self, request: Before) -> Result<S::Response, Refusal> {
        // A separate statement, so that no temporary lives while the inner service works.
        let after = self.stage.check(request)?;
        self.inner.call(after).await
    }
}
