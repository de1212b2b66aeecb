//! Access key for an identity token from IAM v3: exchanges the identity token for a token, and that for a key.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::{Provide, ProvideError, ProvideFuture, Provided, exchange::Exchange, read, source};

pub(super) struct Oidc {
    pub(super) exchange: Exchange,
    pub(super) settings: source::Oidc,
}

impl Oidc {
    async fn key(&self) -> Result<Provided, ProvideError> {
        // Read every time, because the platform replaces it before it expires.
        let file = self.settings.id_token_file.clone();
        let id_token = read::off_thread(move || read::token(&file)).await?;
        let mut headers = HeaderMap::new();
        headers.insert(IDP, provider_id(&self.settings.idp_id)?);
        let body = json!({ "auth": { "id_token": { "id": id_token.expose() } } });
        let answer = self.exchange.post(TOKENS, headers, body).await?;
        let answer = self.exchange.accepted(answer)?;
        let token = answer.headers.get(SUBJECT).and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| self.exchange.unusable("no X-Subject-Token"))?;
        let body = json!({ "auth": { "identity": {
            "methods": ["token"],
            "token": { "id": token, "duration_seconds": self.settings.duration.as_secs() },
        } } });
        let answer = self.exchange.post(KEYS, HeaderMap::new(), body).await?;
        self.exchange.key(answer)
    }
}

/// Checks the identity provider's id and the token file.
pub(super) fn examine(settings: &source::Oidc) -> Result<(), ProvideError> {
    provider_id(&settings.idp_id)?;
    read::token(&settings.id_token_file).map(drop)
}

fn provider_id(idp_id: &str) -> Result<HeaderValue, ProvideError> {
    HeaderValue::from_str(idp_id).map_err(|_| ProvideError::ProviderId)
}

impl Provide for Oidc {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.settings.id_token_file.clone()]
    }
}

/// The header with the token that IAM issues.
pub(super) const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");
const IDP: HeaderName = HeaderName::from_static("x-idp-id");
const TOKENS: &str = "/v3.0/OS-AUTH/id-token/tokens";
const KEYS: &str = "/v3.0/OS-CREDENTIAL/securitytokens";
