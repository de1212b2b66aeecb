//! With whose authority? [`Entrusted`] → [`Signed`]: the real credential is added.
//!
//! It stands last before `forward`, inside `retry`: every attempt has its own date and signature. Nothing after
//! it touches the request.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, header::HOST};
use tower::{BoxError, filter::Predicate};

use super::{Entrusted, Exchange, compose::PROJECT_ID};
use crate::{
    audit::Announced,
    clock::Skew,
    credential::Credential,
    signing::{self, SigningKey, Timestamp, Unsigned},
    upstream::{Outbound, Upstream, Use},
};

/// A request that upstream will accept as ours.
pub struct Signed {
    request: Sealed,
    upstream: Arc<Upstream>,
    via: Use,
    exchange: Exchange,
}

/// What goes on the wire, for whoever has announced it.
pub(super) struct Sealed(Box<Outbound>);

/// Adds credentials.
#[derive(Clone)]
pub struct Sign {
    skew: Skew,
}

impl Sign {
    /// Dates signatures by the cloud's clock.
    pub fn new(skew: Skew) -> Self {
        Self { skew }
    }
}

impl Signed {
    pub(super) fn into_parts(self) -> (Sealed, Arc<Upstream>, Use, Exchange) {
        (self.request, self.upstream, self.via, self.exchange)
    }
}

impl Sealed {
    /// The values in it that nobody may see.
    pub(super) fn sensitive(&self) -> Vec<HeaderValue> {
        self.0.headers().values().filter(|value| value.is_sensitive()).cloned().collect()
    }

    /// The request.
    pub(super) fn open(self, _: Announced) -> Box<Outbound> {
        self.0
    }
}

impl Predicate<Entrusted> for Sign {
    type Request = Signed;

    fn check(&mut self, request: Entrusted) -> Result<Signed, BoxError> {
        let (request, lease) = request.into_parts();
        let (mut request, project, via, exchange) = request.into_parts();
        let credential = lease.credential();
        {
            let mut record = exchange.trail.note();
            record.credential = Some(Arc::clone(project.credential.name()));
            record.key_hint = credential.key_hint().map(str::to_owned);
        }
        match credential {
            Credential::Key(key) => sign(&mut request, key, self.skew.now())?,
            Credential::Token(token) => {
                drop(request.headers_mut().insert(AUTH_TOKEN, token.header().clone()))
            }
        }
        Ok(Signed {
            request: Sealed(Box::new(request)),
            upstream: Arc::clone(&project.upstream),
            via,
            exchange,
        })
    }
}

/// Signs `host`, `x-project-id` and `x-sdk-date`, and the security token of temporary keys. Everything else may
/// be added, changed or dropped on the way without harm to the signature.
fn sign(request: &mut Outbound, key: &SigningKey, now: DateTime<Utc>) -> Result<(), BoxError> {
    let signed = {
        let headers = request.headers();
        let value = |name| headers.get(name).map(HeaderValue::as_bytes);
        let host = value(HOST).map(|host| ("host", host));
        let project = value(PROJECT_ID).map(|id| ("x-project-id", id));
        let to_sign: Vec<(&str, &[u8])> = host.into_iter().chain(project).collect();
        let unsigned = Unsigned {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            headers: &to_sign,
            body: &[],
        };
        signing::sign(&unsigned, key, Timestamp::from(now))?
    };
    for (name, value) in signed.headers() {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(name != DATE);
        request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    Ok(())
}

/// The one header of a signature that is no secret.
const DATE: &str = "X-Sdk-Date";
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
