//! Requests to endpoints that issue credentials, over the same client as calls to upstream.
//!
//! Answers are secret: only a status and an error code are logged or passed on, because an error message may repeat what was
//! sent.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use tokio::time::Instant;
use zeroize::{Zeroize, Zeroizing};

use super::{Credential, Expiry, ProvideError, Provided, ProviderContext};
use crate::{
    clock::Skew,
    object::Object,
    secret::Secret,
    signing::SigningKey,
    upstream::{ConnectionChoice, DialerError, Endpoint, Timeouts, Upstream, UpstreamAnswer},
};

/// An endpoint that issues credentials.
pub(super) struct Exchange {
    /// The name for messages.
    pub(super) name: Arc<str>,
    /// The value of `Host`.
    pub(super) host: HeaderValue,
    upstream: Upstream,
    /// The skew of the endpoint's clock.
    pub(super) skew: Skew,
    /// The time-out of one request.
    pub(super) timeout: Duration,
}

pub(super) struct ExchangeRequest<'a> {
    pub(super) method: Method,
    /// The path and query.
    pub(super) target: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// A temporary key, under the names that endpoints use.
#[derive(Deserialize)]
pub(super) struct TemporaryKey {
    #[serde(alias = "accessKeyId", alias = "access_key_id")]
    access: Box<str>,
    #[serde(alias = "secretAccessKey", alias = "secret_access_key")]
    secret: Secret,
    #[serde(alias = "securityToken", alias = "security_token")]
    securitytoken: Secret,
    #[serde(alias = "expiration")]
    expires_at: Box<str>,
}

#[derive(Deserialize)]
pub(super) struct KeyDocument {
    #[serde(alias = "credentials")]
    credential: Object<TemporaryKey>,
}

impl Exchange {
    /// Creates a client of this endpoint, with a time-out for each request.
    pub(super) fn new(
        endpoint: &Endpoint,
        provider_context: &ProviderContext,
        timeout: Duration,
    ) -> Result<Self, DialerError> {
        let timeouts = Timeouts { connect: provider_context.connect_timeout.min(timeout), attempt: timeout };
        let host = HeaderValue::from_str(endpoint.authority()).unwrap_or(HeaderValue::from_static(""));
        let upstream = Upstream::new(endpoint, &provider_context.egress, timeouts)?;
        let skew = provider_context.clocks.of(&endpoint.to_string());
        Ok(Self { name: endpoint.authority().into(), host, upstream, skew, timeout })
    }

    /// Asks, and returns the answer of any status. Learns the clock skew from its `Date`.
    pub(super) async fn ask(&self, ask: ExchangeRequest<'_>) -> Result<UpstreamAnswer, ProvideError> {
        let ExchangeRequest { method, target, headers, body } = ask;
        // Zeroed when its last clone is dropped.
        let mut request = Request::new(Full::new(Bytes::from_owner(body)));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(target).map_err(|_| self.unusable("invalid path"))?;
        *request.headers_mut() = headers;
        for (name, value) in [(HOST, self.host.clone()), (USER_AGENT, PRODUCT), (ACCEPT, JSON)] {
            request.headers_mut().insert(name, value);
        }
        let started = Instant::now();
        let answer = self.upstream.send(request, ConnectionChoice::Fresh, started + self.timeout).await;
        let answer =
            answer.map_err(|source| ProvideError::Unanswered { endpoint: Arc::clone(&self.name), source })?;
        if let Some(date) = answer.date().filter(|_| is_its_own(&answer)) {
            self.skew.learn(date, started.elapsed());
        }
        Ok(answer)
    }

    /// Asks with a JSON body, which is zeroed.
    pub(super) async fn post(
        &self,
        target: &str,
        mut headers: HeaderMap,
        body: Value,
    ) -> Result<UpstreamAnswer, ProvideError> {
        headers.insert(CONTENT_TYPE, JSON);
        self.ask(ExchangeRequest { method: Method::POST, target, headers, body: text_of(body) }).await
    }

    /// Returns the answer if its status is a success.
    pub(super) fn accepted(&self, answer: UpstreamAnswer) -> Result<UpstreamAnswer, ProvideError> {
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// Returns the error for an answer that refuses.
    pub(super) fn refused(&self, answer: &UpstreamAnswer) -> ProvideError {
        let code = answer.error_code().filter(|code| is_error_code(code));
        ProvideError::Refused { endpoint: Arc::clone(&self.name), status: answer.status.as_u16(), code }
    }

    pub(super) fn unusable(&self, problem: &'static str) -> ProvideError {
        ProvideError::Unusable { endpoint: Arc::clone(&self.name), problem }
    }

    /// Returns an expiry by the endpoint's clock.
    pub(super) fn expiry(&self, at: DateTime<Utc>) -> Option<Expiry> {
        Some(Expiry { at, clock: self.skew.clone() })
    }

    /// Parses a document and zeroes its text.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: UpstreamAnswer) -> Result<T, ProvideError> {
        let document = serde_json::from_slice(&answer.body);
        if let Ok(mut text) = answer.body.try_into_mut() {
            text.zeroize();
        }
        // The parser's error may quote the document.
        document.map_err(|_| self.unusable("not the documented JSON"))
    }

    /// Parses a temporary key from an answer.
    pub(super) fn key(&self, answer: UpstreamAnswer) -> Result<Provided, ProvideError> {
        let Object(KeyDocument { credential: Object(credential) }) = self.read(self.accepted(answer)?)?;
        let expires_at = moment(&credential.expires_at).ok_or_else(|| self.unusable("invalid expiry"))?;
        let key = SigningKey::new(&credential.access, &credential.secret, Some(credential.securitytoken));
        let key = key.map_err(|error| ProvideError::Key { place: (&*self.name).into(), error })?;
        Ok(Provided { credential: Credential::Key(key), expires_at: self.expiry(expires_at) })
    }
}

/// Whether an answer comes from the endpoint itself, which answers in JSON, not from something in between with another
/// clock.
fn is_its_own(answer: &UpstreamAnswer) -> bool {
    let document = || serde_json::from_slice::<HashMap<&str, IgnoredAny>>(&answer.body).is_ok();
    answer.status.is_success() || document()
}

/// Serialises a document, and zeroes it.
pub(super) fn text_of(mut document: Value) -> Zeroizing<Vec<u8>> {
    // Large enough not to be reallocated while it is written: a token has a few kilobytes.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    // Writing a value to memory cannot fail.
    drop(serde_json::to_writer(&mut *text, &document));
    zeroize_value(&mut document);
    text
}

fn zeroize_value(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(zeroize_value),
        Value::Object(members) => members.values_mut().for_each(zeroize_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// RFC 3339 in UTC, as `2020-01-08T02:56:19.587000Z`.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// As `IAM.0011`: nothing that could be something else.
fn is_error_code(code: &str) -> bool {
    let (service, number) = code.split_once('.').unwrap_or_default();
    let letters =
        |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    letters(service) && letters(number)
}

const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The time-out of one request to IAM or STS.
pub(super) const CLOUD_TIMEOUT: Duration = Duration::from_secs(10);
