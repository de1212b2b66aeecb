//! How stages are joined: a service is called by reference, a stage that decides is a plain function.
//!
//! [`Service`] is tower's without readiness and with `&self`, as hyper's is: so a request can borrow its record, and no
//! service is cloned and no future boxed for a call. `tower::ServiceBuilder` and `tower::Layer` put them together.

use tower::Layer;

use super::Refusal;

/// A part of the request path, with all that is inside it.
pub trait Service<Request> {
    /// What it gives.
    type Response;
    /// What it gives instead.
    type Error;

    /// Answers a request.
    fn call(&self, request: Request) -> impl Future<Output = Result<Self::Response, Self::Error>> + Send;
}

/// A stage that decides: it waits for nothing, and either makes the next type of a request or refuses it.
pub trait Stage<Before> {
    /// What only this stage makes.
    type After;

    /// Decides.
    ///
    /// # Errors
    /// Why the request goes no further.
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
    /// Lets through what this stage makes.
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
        // In a statement of its own, so that nothing of it is held while the inner service works.
        let after = self.stage.check(request)?;
        self.inner.call(after).await
    }
}
