//! User token from IAM for a password.
//!
//! A rejected password is not tried again before it changes, because IAM locks accounts after repeated failures.

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    Credential, Provide, ProvideError, ProvideFuture, Provided, Token,
    exchange::{Exchange, moment},
    oidc::SUBJECT,
    read, source,
};
use crate::{object::Object, secret::Secret, upstream::UpstreamAnswer};

pub(super) struct IamPassword {
    pub(super) exchange: Exchange,
    pub(super) settings: source::Password,
}

#[derive(Deserialize)]
struct Document {
    token: Object<Issued>,
}

#[derive(Deserialize)]
struct Issued {
    expires_at: Box<str>,
}

impl IamPassword {
    async fn token(&self) -> Result<Provided, ProvideError> {
        let source::Password { domain, user, password_file, project_id, .. } = &self.settings;
        let file = password_file.clone();
        let password = read::off_thread(move || read::password(&file)).await?;
        let body = json!({ "auth": {
            "identity": {
                "methods": ["password"],
                "password": { "user": {
                    "name": user, "password": password.expose(), "domain": { "name": domain },
                } },
            },
            "scope": { "project": { "id": &**project_id } },
        } });
        let answer = self.exchange.post(TOKENS, HeaderMap::new(), body).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(ProvideError::WrongPassword(Arc::clone(&self.exchange.name)));
        }
        self.read(self.exchange.accepted(answer)?)
    }

    fn read(&self, answer: UpstreamAnswer) -> Result<Provided, ProvideError> {
        let token = answer.headers.get(SUBJECT).and_then(|token| token.to_str().ok()).map(Secret::new);
        let token = token.as_ref().and_then(|token| Token::new(token).ok());
        let token = token.ok_or_else(|| self.exchange.unusable("no X-Subject-Token"))?;
        let Object(Document { token: Object(Issued { expires_at }) }) = self.exchange.read(answer)?;
        let end = moment(&expires_at).ok_or_else(|| self.exchange.unusable("invalid expiry"))?;
        Ok(Provided { credential: Credential::Token(token), expires_at: self.exchange.expiry(end) })
    }
}

impl Provide for IamPassword {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.token())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.settings.password_file.clone()]
    }
}

const TOKENS: &str = "/v3/auth/tokens?nocatalog=true";
