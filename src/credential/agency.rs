//! Access key of an agency, from STS v5, requested with the access key of another credential.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, HOST},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    CachedCredential, Credential, Provide, ProvideError, ProvideFuture, Provided, Verdict,
    exchange::{Exchange, ExchangeRequest, text_of},
    source,
};
use crate::{
    signing::{self, SigningKey, Timestamp, Unsigned},
    upstream::UpstreamAnswer,
};

pub(super) struct Agency {
    pub(super) exchange: Exchange,
    pub(super) base: Option<Arc<CachedCredential>>,
    pub(super) settings: source::Agency,
}

impl Agency {
    async fn key(&self) -> Result<Provided, ProvideError> {
        let (mut answer, verdict) = self.ask().await?;
        // The date was wrong, not the key, and the skew is known now.
        if verdict == Verdict::Misdated && self.exchange.skew.is_corrected() {
            (answer, _) = self.ask().await?;
        }
        self.exchange.key(answer)
    }

    /// Asks once. Signatures that STS rejects count against the base's key like any others.
    async fn ask(&self) -> Result<(UpstreamAnswer, Verdict), ProvideError> {
        let unusable = || ProvideError::Base(Arc::clone(&self.settings.base));
        let base = self.base.as_ref().ok_or_else(unusable)?;
        let lease = base.lease(Instant::now() + self.exchange.timeout).await.map_err(|_| unusable())?;
        let now = self.exchange.skew.now();
        let ask = self.request(lease.credential(), now).ok_or_else(unusable)?;
        let answer = self.exchange.ask(ask).await?;
        let verdict = Verdict::of_exchange(&answer, now);
        base.answered(lease, verdict);
        Ok((answer, verdict))
    }

    /// Returns the signed request. `None` if the base is not an access key.
    fn request(&self, base: &Credential, now: DateTime<Utc>) -> Option<ExchangeRequest<'static>> {
        let Credential::Key(key) = base else { return None };
        let source::Agency { agency_urn, session_name, duration, .. } = &self.settings;
        let body = text_of(json!({
            "agency_urn": agency_urn,
            "agency_session_name": session_name,
            "duration_seconds": duration.as_secs(),
        }));
        let headers = self.signed_headers(&body, key, now)?;
        Some(ExchangeRequest { method: Method::POST, target: ASSUME, headers, body })
    }

    fn signed_headers(&self, body: &[u8], key: &SigningKey, now: DateTime<Utc>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        let (host, json) = (&self.exchange.host, JSON);
        let to_sign = [(CONTENT_TYPE.as_str(), json.as_bytes()), (HOST.as_str(), host.as_bytes())];
        let unsigned = Unsigned { method: "POST", path: ASSUME, query: "", headers: &to_sign, body };
        let signed = signing::sign(&unsigned, key, Timestamp::from(now)).ok()?;
        for (name, value) in signed.headers() {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        Some(headers)
    }
}

impl Provide for Agency {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }
}

const ASSUME: &str = "/v5/agencies/assume";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
