//! Is it safe to try again? Only what was surely not processed is, and a stale connection once.
//!
//! It stands between `compose` and `sign`, so every attempt is signed anew. Which failures are safe is said by
//! [`SendError`]; what is not safe is never repeated: the caller is told that the outcome is unknown.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, Service, ServiceExt};

use super::Composed;
use crate::{
    config::Stale,
    upstream::{Answer, DialError, SendError},
};

/// An answer of upstream, and what an earlier attempt may have to do with it.
pub struct Delivered {
    /// The answer of the last attempt.
    pub answer: Answer,
    /// Whether an earlier attempt was written to a connection that turned out dead: it may have been carried out.
    pub after_stale: bool,
}

/// Wraps the act of one attempt, to repeat it.
#[derive(Clone)]
pub struct RetryLayer {
    attempts: u32,
    stale: Stale,
}

/// Repeats attempts that are safe to repeat.
#[derive(Clone)]
pub struct Retry<S> {
    attempt: S,
    attempts: u32,
    stale: Stale,
}

impl RetryLayer {
    /// Makes at most `attempts` attempts to connect, and one more where `stale` allows it.
    pub fn new(attempts: u32, stale: Stale) -> Self {
        Self { attempts, stale }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, attempt: S) -> Retry<S> {
        Retry { attempt, attempts: self.attempts, stale: self.stale }
    }
}

impl<S> Service<Composed> for Retry<S>
where
    S: Service<Composed, Response = Answer, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Delivered;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Delivered, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.attempt.poll_ready(cx)
    }

    fn call(&mut self, request: Composed) -> Self::Future {
        let retry = self.clone();
        Box::pin(retry.run(request))
    }
}

impl<S> Retry<S>
where
    S: Service<Composed, Response = Answer, Error = BoxError> + Clone,
{
    async fn run(self, mut request: Composed) -> Result<Delivered, BoxError> {
        let (mut attempts, mut after_stale) = (1, false);
        loop {
            let error = match self.attempt.clone().oneshot(request.clone()).await {
                Ok(answer) => return Ok(Delivered { answer, after_stale }),
                Err(error) => error,
            };
            match error.downcast_ref::<SendError>() {
                Some(SendError::Stale) if self.stale == Stale::Once && !after_stale => {
                    after_stale = true;
                    request = request.on_a_fresh_connection();
                }
                // What was written by an attempt before this one is still unknown.
                Some(SendError::Dial(_) | SendError::Unsent) if after_stale => {
                    return Err(SendError::Stale.into());
                }
                Some(SendError::Unsent) if attempts < self.attempts => {}
                Some(SendError::Dial(error)) if attempts < self.attempts && worth_another(error) => {
                    let pause = FIRST_PAUSE * attempts;
                    if Instant::now() + pause >= request.exchange().deadline {
                        return Err(SendError::Dial(DialError::Timeout).into());
                    }
                    sleep(pause).await;
                }
                _ => return Err(error),
            }
            attempts += 1;
        }
    }
}

/// A certificate that was wrong a moment ago still is.
fn worth_another(error: &DialError) -> bool {
    !matches!(error, DialError::Tls(_))
}

/// Waited before the second attempt to connect, and twice that before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
