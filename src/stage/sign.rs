//! Adds the real credential: [`Cleared`] → [`Signed`].
//!
//! It stands last before the first byte: every attempt has its own date and signature, and nothing touches the
//! request after it.

use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, header::HOST};
use tower::BoxError;

use super::{Cleared, compose::PROJECT_ID};
use crate::{
    audit::Announced,
    credential::{Credential, Lent},
    signing::{self, SigningKey, Timestamp, Unsigned},
    upstream::Outbound,
};

/// A request that upstream will accept as ours.
pub struct Signed {
    request: Box<Outbound>,
    dated: Option<DateTime<Utc>>,
}

impl Signed {
    /// Signs a request with this value, dated by the clock of the endpoint that it goes to.
    pub(super) fn new(request: Cleared, lent: &Lent) -> Result<Self, BoxError> {
        let (mut request, project, _) = request.into_request().into_parts();
        let dated = match lent.credential() {
            Credential::Key(key) => {
                let now = project.upstream.clock().now();
                sign(&mut request, key, now)?;
                Some(now)
            }
            Credential::Token(token) => {
                drop(request.headers_mut().insert(AUTH_TOKEN, token.header().clone()));
                None
            }
        };
        Ok(Self { request: Box::new(request), dated })
    }

    /// Which date it was signed with. One with a token has none.
    pub(super) fn dated(&self) -> Option<DateTime<Utc>> {
        self.dated
    }

    /// The values in it that nobody may see.
    pub(super) fn sensitive(&self) -> Vec<HeaderValue> {
        self.request.headers().values().filter(|value| value.is_sensitive()).cloned().collect()
    }

    /// What goes on the wire, for whoever has announced it.
    pub(super) fn open(self, _: Announced) -> Box<Outbound> {
        self.request
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
