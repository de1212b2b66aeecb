//! Makes calls with the credential of a project.
//!
//! Requests are composed here and signed by the same code as calls. After a rejected signature no more are sent.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    cli::doctor::projects::CallPath,
    config::{Project, ProjectHeader},
    credential::{CachedCredential, Credential, Lease, Verdict},
    operation::{Jobs, Operation},
    signing::{self, Timestamp, Unsigned},
    stage::verdict,
    upstream::{ConnectionChoice, Outbound, Upstream, UpstreamAnswer},
};

/// Makes calls for one project.
pub(super) struct Caller {
    project: Arc<Project>,
    cached: Arc<CachedCredential>,
    upstream: Upstream,
}

/// The request of a call.
#[derive(Clone, Copy)]
pub(super) struct CallSpec<'w> {
    pub(super) operation: &'w Operation,
    pub(super) jobs: &'w Jobs,
    /// `null` if there is none.
    pub(super) body: &'w Value,
    pub(super) spelling: ProjectHeader,
}

/// The result of a call.
pub(super) struct CallResult {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    /// `null` if it is not JSON.
    pub(super) body: Value,
    /// Whether the answer came from the service itself.
    pub(super) is_accepted: bool,
}

impl Caller {
    /// Creates a caller with the credential of the project.
    pub(super) fn new(project: &Arc<Project>, path: CallPath<'_>) -> Result<Self, String> {
        let probed = path.credential(project).ok_or("no credential")?;
        let upstream = path.upstream(project).map_err(text)?;
        Ok(Self { project: Arc::clone(project), cached: Arc::clone(&probed.cached), upstream })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// If there is no answer, or the credential was rejected.
    pub(super) async fn call(&self, what: CallSpec<'_>) -> Result<CallResult, String> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let place = format!("{} {}", what.operation.method, what.operation.template);
        let lease = self.cached.lease(deadline).await.map_err(text)?;
        let connected = self.upstream.connect(ConnectionChoice::Fresh, deadline).await;
        let connected = connected.map_err(|error| format!("{place}: {error}"))?;
        let (request, dated) = self.signed(what, &lease)?;
        let answer = connected.send(Box::new(request), what.operation.largest_answer).await;
        let answer = answer.map_err(|error| format!("{place}: {error}"))?;
        let verdict = verdict(&answer, dated);
        self.cached.answered(lease, verdict);
        let result = CallResult::of(&answer, verdict == Verdict::Accepted);
        match verdict {
            Verdict::Refused | Verdict::Misdated | Verdict::Ended => Err(format!(
                "{place}: the credential was rejected ({result}); five invalid signatures in a row lock a key, and this was one"
            )),
            Verdict::Accepted | Verdict::Nothing => Ok(result),
        }
    }

    fn signed(
        &self,
        what: CallSpec<'_>,
        lease: &Lease,
    ) -> Result<(Outbound, Option<chrono::DateTime<chrono::Utc>>), String> {
        let (mut request, body) = self.composed(what)?;
        let key = match lease.credential() {
            Credential::Key(key) => key,
            Credential::Token(token) => {
                request.headers_mut().insert("x-auth-token", token.header().clone());
                return Ok((request, None));
            }
        };
        let now = self.upstream.clock().now();
        let added: Vec<(String, String)> = {
            let headers: Vec<(&str, &[u8])> =
                request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
            let unsigned =
                Unsigned { method: request.method().as_str(), path, query, headers: &headers, body: &body };
            let signed = signing::sign(&unsigned, key, Timestamp::from(now)).map_err(text)?;
            signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        for (name, value) in added {
            let mut value = HeaderValue::try_from(value).map_err(text)?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::try_from(name).map_err(text)?, value);
        }
        Ok((request, Some(now)))
    }

    /// Composes the request without its credential, and its body.
    fn composed(&self, what: CallSpec<'_>) -> Result<(Outbound, Bytes), String> {
        let CallSpec { operation, jobs, body, spelling } = what;
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let mut request = Request::builder()
            .method(operation.method)
            .uri(operation.render(&self.project.id, jobs))
            .header(HOST, self.project.endpoint.authority())
            .header(USER_AGENT, concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if spelling != ProjectHeader::Underscore {
            request = request.header("x-project-id", &*self.project.id);
        }
        if spelling != ProjectHeader::Hyphen {
            request = request.header("x-project_id", &*self.project.id);
        }
        let request = request.body(Full::new(body.clone())).map_err(text)?;
        Ok((request, body))
    }
}

impl CallResult {
    fn of(answer: &UpstreamAnswer, is_accepted: bool) -> Self {
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        // One that is longer than documented may be anything, even a secret that was sent.
        let code = answer.error_code().map(|code| if code.len() <= MAX_CODE { code } else { "?".into() });
        Self { status: answer.status.as_u16(), code, body, is_accepted }
    }
}

impl fmt::Display for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} {code}", self.status),
            None => self.status.fmt(f),
        }
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// The maximum length of an error code, in bytes.
const MAX_CODE: usize = 16;
/// The time for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
