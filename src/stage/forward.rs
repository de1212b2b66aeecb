//! What does upstream say? One attempt: [`Signed`] → [`Answer`].
//!
//! It stands at the end: it adds nothing to the request, announces it where that is wanted, and notes on the trail
//! what came back. An answer that holds what we sent as a credential is neither passed on nor noted with it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;
use serde_json::Value;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::{Refusal, Signed};
use crate::{
    audit::{Blocked, Sink, Trail},
    clock::Skew,
    metrics::Metrics,
    upstream::{Answer, SendError},
};

/// Sends requests.
#[derive(Clone)]
pub struct Forward {
    sink: Sink,
    metrics: Arc<Metrics>,
    skew: Skew,
}

impl Forward {
    /// Announces requests in `sink`, sends them and measures upstream, its clock included.
    pub fn new(sink: Sink, metrics: Arc<Metrics>, skew: Skew) -> Self {
        Self { sink, metrics, skew }
    }
}

impl Service<Signed> for Forward {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Signed) -> Self::Future {
        let Self { sink, metrics, skew } = self.clone();
        Box::pin(async move {
            // Once a call, and not before everything that can still refuse it.
            let announced = sink.announce(request.trail()).await.map_err(|Blocked| Refusal::AuditBlocked)?;
            let (request, upstream, via, exchange) = request.into_parts(announced);
            let sensitive: Vec<HeaderValue> =
                request.headers().values().filter(|value| value.is_sensitive()).cloned().collect();
            let started = Instant::now();
            exchange.trail.note().attempts += 1;
            let result = upstream.send(request, via, exchange.deadline).await;
            let took = started.elapsed();
            *exchange.trail.note().upstream_duration.get_or_insert_default() += took;
            metrics.attempted(took);
            match result {
                Ok(mut answer) => {
                    if let Some(date) = answer.date() {
                        skew.learn(date, took);
                    }
                    withhold(&mut answer, &sensitive);
                    note(&exchange.trail, &answer);
                    Ok(answer)
                }
                Err(error) => {
                    metrics.attempt_failed(kind(&error));
                    Err(error.into())
                }
            }
        })
    }
}

fn note(trail: &Trail, answer: &Answer) {
    let mut record = trail.note();
    record.upstream_status = Some(answer.status.as_u16());
    let id = answer.headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    record.upstream_request_id = id.map(short);
    record.upstream_error_code = answer.error_code().as_deref().map(short);
}

/// The value of `kind` in metrics.
fn kind(error: &SendError) -> &'static str {
    match error {
        SendError::Dial(_) => "connect",
        SendError::Unsent | SendError::Closed => "closed",
        SendError::Stale => "stale",
        SendError::Timeout => "timeout",
        SendError::Invalid(_) => "invalid",
    }
}

/// Takes credentials out of an answer that repeats them: a gateway may answer a bad signature with the canonical
/// request it computed, security token included.
fn withhold(answer: &mut Answer, sensitive: &[HeaderValue]) {
    let secrets = || sensitive.iter().map(|value| secret_part(value.as_bytes()));
    let holds_one = |text: &[u8]| secrets().any(|secret| memmem::find(text, secret).is_some());
    // JSON may write `/` as `\/`, and any character by its number.
    let written_otherwise = || match serde_json::from_slice(&answer.body) {
        Ok(document) => any_text(&document, &|text| holds_one(text.as_bytes())),
        Err(_) => holds_one(&answer.body.iter().copied().filter(|b| *b != b'\\').collect::<Vec<u8>>()),
    };
    if !answer.body.is_empty() && (holds_one(&answer.body) || written_otherwise()) {
        let code = answer.error_code().filter(|code| !holds_one(code.as_bytes())).unwrap_or_default();
        let body = serde_json::json!({ "error_code": code, "error_msg": WITHHELD });
        answer.body = Bytes::from(body.to_string());
    }
    let leaking = |value: &HeaderValue| holds_one(value.as_bytes());
    if answer.headers.values().any(leaking) {
        answer.headers = answer
            .headers
            .drain()
            .filter_map(|(name, value)| Some((name?, value)))
            .filter(|(_, value)| !leaking(value))
            .collect();
    }
}

/// Whether this is so of any text in a document, names included.
fn any_text(document: &Value, is_so: &impl Fn(&str) -> bool) -> bool {
    match document {
        Value::String(text) => is_so(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, is_so)),
        Value::Object(members) => members.iter().any(|(name, value)| is_so(name) || any_text(value, is_so)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Of `… Signature=<hex>` the signature; of any other value all of it.
fn secret_part(value: &[u8]) -> &[u8] {
    let signature = memmem::rfind(value, b"Signature=").and_then(|at| value.get(at + "Signature=".len()..));
    signature.unwrap_or(value)
}

/// Bounded, so that an audit line is too.
fn short(text: &str) -> String {
    text.chars().take(128).collect()
}

const REQUEST_ID: &str = "x-request-id";
const WITHHELD: &str = "mpc-auth-proxy withheld this message of upstream: it held a credential";
