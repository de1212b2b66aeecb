//! Signs a request, or adds the token: [`Cleared`] → [`Signed`].
//!
//! This is the last step before the first byte. Every attempt has its own date and signature, and nothing changes the
//! request afterwards.

use std::{cell::RefCell, fmt::Display};

use chrono::{DateTime, Utc};
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};

use super::{Cleared, Refusal, headers::PROJECT_ID};
use crate::{
    audit::Announced,
    clock::{PerSecond, Skew},
    credential::{Credential, LeasedCredential},
    signing::{self, SignError, SigningKey, Timestamp, Unsigned},
    upstream::Outbound,
};

/// A request with its credential.
pub struct Signed {
    request: Box<Outbound>,
    credential_headers: CredentialHeaders,
}

/// The parts of a signature. A request with a token has none.
pub(super) struct CredentialHeaders {
    /// The date of the signature.
    pub(super) dated: Option<DateTime<Utc>>,
    pub(super) signature: Option<Box<[u8]>>,
}

impl Signed {
    /// Signs a request with this credential, dated by the clock of its endpoint.
    #[expect(clippy::needless_pass_by_value, reason = "a clearance permits one signature")]
    pub(super) fn new(cleared: Cleared<'_>, leased: &LeasedCredential) -> Result<Self, Refusal> {
        let template = cleared.template();
        let mut request = template.request();
        let clock = template.project().upstream.clock();
        let credential_headers = CredentialHeaders::add(&mut request, template.body(), leased, clock)?;
        Ok(Self { request: Box::new(request), credential_headers })
    }

    /// Returns the date of the signature. `None` with a token.
    pub(super) fn dated(&self) -> Option<DateTime<Utc>> {
        self.credential_headers.dated
    }

    /// Releases the request, for the proof that it was announced, with its signature. `None` with a token.
    pub(super) fn open(self, _: Announced) -> (Box<Outbound>, Option<Box<[u8]>>) {
        (self.request, self.credential_headers.signature)
    }
}

impl CredentialHeaders {
    /// Adds the credential to a request with this body: a signature dated by this clock, or the token.
    pub(super) fn add(
        request: &mut Outbound,
        body: &[u8],
        leased: &LeasedCredential,
        clock: &Skew,
    ) -> Result<Self, Refusal> {
        match leased.credential() {
            Credential::Key(key) => {
                let now = clock.now();
                let signature = sign(request, body, key, now)?;
                Ok(Self { dated: Some(now), signature: Some(signature) })
            }
            Credential::Token(token) => {
                drop(request.headers_mut().insert(AUTH_TOKEN, token.header().clone()));
                Ok(Self { dated: None, signature: None })
            }
        }
    }
}

/// Signs `host`, `x-project-id` and `x-sdk-date`, the body and its type, if any, and the security token of temporary keys.
/// Returns the signature. Other headers may be added, changed or dropped on the way without invalidating it.
fn sign(
    request: &mut Outbound,
    body: &[u8],
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<Box<[u8]>, Refusal> {
    let signed = {
        let headers = request.headers();
        let value = |name| headers.get(name).map(HeaderValue::as_bytes);
        let host = ("host", value(HOST).ok_or_else(|| Refusal::bug(SignError::NoHost))?);
        let others = [("x-project-id", value(PROJECT_ID)), ("content-type", value(CONTENT_TYPE))];
        let (mut signed, mut count) = ([host; 3], 1);
        for ((name, value), place) in others.into_iter().filter_map(named).zip(signed.iter_mut().skip(1)) {
            *place = (name, value);
            count += 1;
        }
        let unsigned = Unsigned {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            headers: signed.get(..count).unwrap_or_default(),
            body,
        };
        let date = DATED.with_borrow_mut(|last| *last.of(now, Timestamp::from));
        signing::sign(&unsigned, key, date).map_err(Refusal::bug)?
    };
    let headers = request.headers_mut();
    headers.insert(DATE, HeaderValue::from_str(signed.date()).map_err(Refusal::bug)?);
    if let Some(token) = signed.security_token() {
        headers.insert(SECURITY_TOKEN, secret(HeaderValue::from_str(token))?);
    }
    let signature = signed.signature().as_bytes().into();
    headers.insert(AUTHORIZATION, secret(HeaderValue::try_from(signed.into_authorization()))?);
    Ok(signature)
}

fn named<'v>((name, value): (&'static str, Option<&'v [u8]>)) -> Option<(&'static str, &'v [u8])> {
    Some((name, value?))
}

thread_local! {
    static DATED: RefCell<PerSecond<Timestamp>> = RefCell::default();
}

fn secret<E: Display>(value: Result<HeaderValue, E>) -> Result<HeaderValue, Refusal> {
    let mut value = value.map_err(Refusal::bug)?;
    value.set_sensitive(true);
    Ok(value)
}

const DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-security-token");
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
