//! STS v5: assuming agencies with an id token or an access key.
//!
//! An agency's trust policy only says who is trusted. Session policies are parsed and ignored. Huawei documents the format
//! of errors and the codes `STS5.1106` and `PAP5.0001`; the other codes and the statuses are made up like them.

use chrono::TimeDelta;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Agency, IdentityProvider, Seen, Trusted,
    answer::{Answer, Problem},
    keys::Keys,
    secrets::{Issuing, same, short_timestamp},
    seen::bodies,
};
use crate::secret::Secret;

/// The state that STS works with.
pub(super) struct Sts<'s> {
    pub(super) agencies: &'s [Agency],
    pub(super) providers: &'s [IdentityProvider],
    pub(super) keys: &'s mut Keys,
    pub(super) issuing: Issuing,
}

impl Sts<'_> {
    /// Answers a request. `None` if there is no such API.
    pub(super) fn answer(&mut self, request: &Seen) -> Option<Answer> {
        let answer = match (&*request.method, &*request.target) {
            ("POST", "/v5/agencies/assume-with-oidc") => self.assume_with_oidc(request),
            ("POST", "/v5/agencies/assume") => self.assume(request),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refusal| refusal))
    }

    /// Assumes an agency with an id token. The request is not signed.
    fn assume_with_oidc(&mut self, request: &Seen) -> Result<Answer, Answer> {
        let WithOidc { provider_urn, id_token, session } = parse(request)?;
        let provider = self.providers.iter().find(|provider| provider.urn == provider_urn);
        if !provider.is_some_and(|provider| same(&provider.id_token, id_token.expose())) {
            let message = "the id token is not one of the provider's";
            return Err(error(request, StatusCode::UNAUTHORIZED, "STS5.1201", message));
        }
        let trusted = Trusted::Provider(provider_urn.clone());
        let (assumed_agency, credentials) = self.assume_as(&trusted, request, &session)?;
        let body = json!({
            "assumed_agency": assumed_agency,
            "credentials": credentials,
            "provider": provider_urn,
            "audience": "test",
            "subject_from_id_token": "test",
        });
        Ok(Answer::json(StatusCode::OK, &body))
    }

    /// Assumes an agency with the signature of an access key.
    fn assume(&mut self, request: &Seen) -> Result<Answer, Answer> {
        let signer = self.keys.signer(request, self.issuing.now);
        let signer = signer.map_err(|bad| Problem::Unproven(bad.to_string()).answer(&request.request_id))?;
        let trusted = Trusted::AccessKey(signer.id.clone());
        let is_temporary = signer.security_token.is_some();
        let session: Session = parse(request)?;
        if is_temporary && session.duration_seconds > 3600 {
            return Err(invalid(request, TOO_LONG_FOR_A_CHAIN));
        }
        let (assumed_agency, credentials) = self.assume_as(&trusted, request, &session)?;
        let body = json!({ "assumed_agency": assumed_agency, "credentials": credentials });
        Ok(Answer::json(StatusCode::OK, &body))
    }

    /// Returns the session and its credentials, if the agency trusts this identity.
    fn assume_as(
        &mut self,
        trusted: &Trusted,
        request: &Seen,
        session: &Session,
    ) -> Result<(Value, Value), Answer> {
        let Session { agency_urn: urn, agency_session_name: name, duration_seconds, .. } = session;
        let in_name = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=128).contains(&name.len()) || !name.chars().all(in_name) {
            return Err(invalid(request, BAD_SESSION_NAME));
        }
        if !(900..=43_200).contains(duration_seconds) {
            return Err(invalid(request, "duration_seconds must be 900 to 43200"));
        }
        let Some(agency) = self.agencies.iter().find(|agency| agency.urn == *urn) else {
            let message = format!("the agency '{urn}' cannot be found");
            return Err(error(request, StatusCode::NOT_FOUND, "STS5.1106", &message));
        };
        if agency.trusts != *trusted {
            let message = "access denied: the agency does not trust the caller";
            return Err(error(request, StatusCode::FORBIDDEN, "PAP5.0001", message));
        }
        let term = self.issuing.term(TimeDelta::seconds(*duration_seconds));
        let key = self.keys.issue(&agency.project_id, term);
        // `iam::{account_id}:agency:{agency_name}`.
        let mut parts = urn.split(':').skip(2);
        let (account, agency_name) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let assumed_agency = json!({
            "urn": format!("sts::{account}::assumed-agency:{agency_name}/{name}"),
            "id": format!("00000000000000000000000000000004:{name}"),
        });
        let credentials = json!({
            "access_key_id": key.access,
            "secret_access_key": key.secret.expose(),
            "security_token": key.security_token.expose(),
            "expiration": short_timestamp(key.expires_at),
        });
        Ok((assumed_agency, credentials))
    }
}

/// Returns an error in STS's format.
pub(super) fn error(request: &Seen, status: StatusCode, code: &str, message: &str) -> Answer {
    let body = json!({ "error_code": code, "error_msg": message, "request_id": request.request_id });
    Answer::json(status, &body)
}

/// Returns the error of a request that does not match the documentation.
fn invalid(request: &Seen, message: &str) -> Answer {
    error(request, StatusCode::BAD_REQUEST, "STS5.1001", message)
}

fn parse<T: DeserializeOwned>(request: &Seen) -> Result<T, Answer> {
    serde_json::from_slice(&request.body)
        .map_err(|problem| invalid(request, &format!("the request body is invalid: {problem}")))
}

// The bodies of requests with a signature and with an id token.
bodies! {
    struct Session {
        agency_urn: String,
        agency_session_name: String,
        #[serde(default = "an_hour")] duration_seconds: i64,
        #[serde(rename = "policy")] _policy: Option<String>,
        #[serde(rename = "policy_ids")] _policy_ids: Option<Vec<String>>
    }
    struct WithOidc { provider_urn: String, id_token: Secret, #[serde(flatten)] session: Session }
}

fn an_hour() -> i64 {
    3600
}

const BAD_SESSION_NAME: &str = "agency_session_name must be 2 to 128 characters of A-Z a-z 0-9 _ + = , . @ -";
const TOO_LONG_FOR_A_CHAIN: &str = "duration_seconds must be at most 3600 where a temporary key asks";
