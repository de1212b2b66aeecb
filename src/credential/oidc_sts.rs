//! Access key of an agency for an identity token, from STS v5 in one step.

use std::path::PathBuf;

use http::HeaderMap;
use serde_json::json;

use super::{Provide, ProvideError, ProvideFuture, Provided, exchange::Exchange, read, source};

pub(super) struct OidcSts {
    pub(super) exchange: Exchange,
    pub(super) settings: source::OidcSts,
}

impl OidcSts {
    async fn key(&self) -> Result<Provided, ProvideError> {
        let source::OidcSts { provider_urn, agency_urn, id_token_file, session_name, duration, .. } =
            &self.settings;
        // Read every time, because the platform replaces it before it expires.
        let file = id_token_file.clone();
        let id_token = read::off_thread(move || read::token(&file)).await?;
        let body = json!({
            "provider_urn": provider_urn,
            "agency_urn": agency_urn,
            "agency_session_name": session_name,
            "id_token": id_token.expose(),
            "duration_seconds": duration.as_secs(),
        });
        let answer = self.exchange.post(ASSUME, HeaderMap::new(), body).await?;
        self.exchange.key(answer)
    }
}

impl Provide for OidcSts {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.settings.id_token_file.clone()]
    }
}

const ASSUME: &str = "/v5/agencies/assume-with-oidc";
