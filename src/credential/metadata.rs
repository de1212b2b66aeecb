//! Access key of an ECS instance from the metadata service: version 2 if supported, else version 1, like the official SDKs.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use memchr::memmem;
use zeroize::Zeroizing;

use super::{
    Provide, ProvideError, ProvideFuture, Provided,
    exchange::{Exchange, ExchangeRequest},
};
use crate::{
    secret::{Secret, key_text},
    upstream::{Endpoint, UpstreamAnswer},
};

pub(super) struct Metadata {
    exchange: Exchange,
    session: Session,
}

enum Session {
    /// The version is not known yet.
    Unknown,
    /// Version 2, with this session token.
    Token(Secret),
    /// Version 1, without authentication.
    None,
}

impl Metadata {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange, session: Session::Unknown }
    }

    async fn key(&mut self) -> Result<Provided, ProvideError> {
        if matches!(self.session, Session::Unknown) {
            self.session = self.new_session().await?;
        }
        let mut answer = self.ask_for_key().await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            if memmem::find(&answer.body, NO_AGENCY.as_bytes()).is_some() {
                return Err(ProvideError::NoAgency);
            }
            // The session has expired, or the service has changed from version 1 to version 2.
            self.session = Session::Unknown;
            self.session = self.new_session().await?;
            answer = self.ask_for_key().await?;
        }
        if answer.status.is_client_error() {
            self.session = Session::Unknown;
        }
        self.exchange.key(answer)
    }

    async fn new_session(&self) -> Result<Session, ProvideError> {
        let mut headers = HeaderMap::new();
        headers.insert(TTL, TOKEN_TTL);
        let answer = self.get(Method::PUT, TOKEN, headers).await?;
        match answer.status.as_u16() {
            200 => {
                let text = std::str::from_utf8(&answer.body).ok().and_then(|text| key_text(text).ok());
                let token = text.map(Secret::new).map(Session::Token);
                token.ok_or_else(|| self.exchange.unusable("invalid session token"))
            }
            404 | 405 | 503 => Ok(Session::None),
            _ => Err(self.exchange.refused(&answer)),
        }
    }

    async fn ask_for_key(&self) -> Result<UpstreamAnswer, ProvideError> {
        let mut headers = HeaderMap::new();
        if let Session::Token(token) = &self.session {
            let token = token.header();
            let token =
                token.ok_or_else(|| self.exchange.unusable("its session token is not valid in a header"))?;
            headers.insert(SESSION, token);
        }
        self.get(Method::GET, KEY, headers).await
    }

    async fn get(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
    ) -> Result<UpstreamAnswer, ProvideError> {
        self.exchange.ask(ExchangeRequest { method, target, headers, body: Zeroizing::default() }).await
    }
}

impl Provide for Metadata {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }
}

/// Returns its endpoint, the same on every ECS instance.
#[expect(clippy::expect_used, reason = "a constant, parsed by a test")]
pub fn endpoint() -> Endpoint {
    Endpoint::parse("http://169.254.169.254").expect("an endpoint")
}

/// The time-out of the official SDKs.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
const TOKEN: &str = "/meta-data/latest/api/token";
const KEY: &str = "/openstack/latest/securitykey";
const TTL: HeaderName = HeaderName::from_static("x-metadata-token-ttl-seconds");
const TOKEN_TTL: HeaderValue = HeaderValue::from_static("21600");
const SESSION: HeaderName = HeaderName::from_static("x-metadata-token");
const NO_AGENCY: &str = "Please configure Cloud Service Agency first";
