//! Dispatches requests by fault, service and credential.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::StatusCode;

use super::{
    Difference, Fault, Seen, Service,
    answer::{Answer, Problem, Reply},
    cloud::State,
    differences, faults, federation, iam,
    mpc::{self, Call},
    secrets::Issuing,
    signature,
    sts::{self, Sts},
};

impl State {
    /// Reacts to a request.
    pub(super) fn serve(&mut self, request: &Seen) -> Reply {
        let service = self.service_of(&request.target);
        let refused = |problem: Problem| Reply::of(problem.answer(&request.request_id));
        match faults::take_next(&mut self.faults, service) {
            None => Reply::of(self.answer(request, service)),
            Some(Fault::LatencyMs(ms)) => {
                Reply { delay: Duration::from_millis(ms), ..Reply::of(self.answer(request, service)) }
            }
            Some(Fault::LoseAnswer) => {
                self.answer(request, service);
                Reply::reset()
            }
            Some(Fault::Reset) => Reply::reset(),
            Some(Fault::Hang) => Reply::hang(),
            Some(Fault::Throttled { retry_after_s }) => refused(Problem::Throttled { retry_after_s }),
            Some(Fault::Unavailable) => refused(Problem::Unavailable),
            Some(Fault::Unauthorized) => refused(Problem::Unproven("as the test asked".into())),
            Some(Fault::TokenRevoked) => {
                if let Some(token) = request.header("x-auth-token") {
                    self.tokens.revoke(token);
                }
                refused(Problem::TokenRefused)
            }
            Some(Fault::InternalError) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Reply::of(service.error(request, status, "Internal service error"))
            }
            Some(Fault::Echo) => {
                let message = format!("Cannot read the request: {}", request.repeated());
                Reply::of(service.error(request, StatusCode::BAD_REQUEST, &message))
            }
            Some(Fault::Garbage) => {
                Reply::of(Answer::text(StatusCode::OK, "<html>This is not what you asked for.</html>"))
            }
        }
    }

    fn service_of(&self, target: &str) -> Service {
        let first = target.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(first, _)| first);
        match first {
            _ if self.pods.iter().any(|pod| pod.path == target) => Service::PodIdentity,
            Some("v3" | "v3.0") => Service::Iam,
            Some("v5") => Service::Sts,
            Some("openstack" | "meta-data") => Service::Metadata,
            _ => Service::Mpc,
        }
    }

    /// Executes a request, if its credential permits it.
    fn answer(&mut self, request: &Seen, service: Service) -> Answer {
        let issuing = self.issuing(service);
        let answer = match service {
            _ if !self.is_own_host(request) => Err(Problem::NoSuchApi),
            Service::Mpc => self.media(request, issuing.now),
            Service::Iam => self.identity(request, issuing).ok_or(Problem::NoSuchApi),
            Service::Sts => {
                let (agencies, providers) = (&self.agencies, &self.identity_providers);
                let mut sts = Sts { agencies, providers, keys: &mut self.keys, issuing };
                sts.answer(request).ok_or(Problem::NoSuchApi)
            }
            Service::Metadata => {
                let metadata = self.metadata.as_mut();
                let answer = metadata.and_then(|machine| machine.answer(request, &mut self.keys, issuing));
                answer.ok_or(Problem::NoSuchApi)
            }
            Service::PodIdentity => {
                let pod = self.pods.iter().find(|pod| pod.path == request.target);
                pod.and_then(|pod| pod.answer(request, &mut self.keys, issuing)).ok_or(Problem::NoSuchApi)
            }
        };
        answer.unwrap_or_else(|problem| problem.answer(&request.request_id))
    }

    fn identity(&mut self, request: &Seen, issuing: Issuing) -> Option<Answer> {
        match (&*request.method, &*request.target) {
            ("POST", "/v3/auth/tokens" | "/v3/auth/tokens?nocatalog=true") => {
                Some(self.users.sign_in(&mut self.tokens, request, issuing))
            }
            ("POST", "/v3.0/OS-AUTH/id-token/tokens") => {
                let (providers, tokens) = (&self.identity_providers, &mut self.tokens);
                Some(federation::exchange_id_token(providers, tokens, request, issuing))
            }
            ("POST", "/v3.0/OS-CREDENTIAL/securitytokens") => {
                Some(federation::exchange_token(&self.tokens, &mut self.keys, request, issuing))
            }
            _ => None,
        }
    }

    fn media(&mut self, request: &Seen, now: DateTime<Utc>) -> Result<Answer, Problem> {
        let call = Call::parse(&request.method, &request.target).ok_or(Problem::NoSuchApi)?;
        if self.jobs.differences.iter().any(|d| matches!(d, Difference::NoUrl(url) if url == call.url)) {
            return Err(Problem::NoSuchApi);
        }
        let project_id = self.project_of(request, now)?.to_owned();
        // The documentation spells the header `X-Project_Id`, the SDKs `X-Project-Id`. A token is for one project by
        // itself; with an access key only the header names the project.
        let only = differences::project_header(&self.jobs.differences);
        let spellings =
            ["x-project-id", "x-project_id"].into_iter().filter(|name| only.is_none_or(|o| o == *name));
        let mut named = spellings.flat_map(|name| request.all(name)).peekable();
        let unnamed = named.peek().is_none() && request.all("x-auth-token").next().is_none();
        if unnamed || named.any(|id| id != call.project_id) || project_id != call.project_id {
            return Err(Problem::OtherTenant);
        }
        let action = call.iam_action();
        let signed = request.header("authorization").and_then(signature::parse);
        let allowed = signed.and_then(|(access_key, ..)| self.allowed.get(access_key));
        if allowed.is_some_and(|actions| !actions.iter().any(|allowed| allowed == action)) {
            return Err(Problem::NotAllowed(action));
        }
        self.jobs.perform(&call, request, now)
    }

    /// Returns the project of the request's credential.
    pub(super) fn project_of(&mut self, request: &Seen, now: DateTime<Utc>) -> Result<&str, Problem> {
        let unproven = |reason: &str| Err(Problem::Unproven(reason.to_owned()));
        match (request.all("x-auth-token").count(), request.all("authorization").count()) {
            (0, 0) => unproven("neither x-auth-token nor authorization found"),
            (1, 0) => {
                let token = request.header("x-auth-token").unwrap_or_default();
                self.tokens.project_of(token, now).ok_or(Problem::TokenRefused)
            }
            (0, _) => match self.keys.signer(request, now) {
                Ok(key) => Ok(&key.project_id),
                Err(reason) => unproven(&reason.to_string()),
            },
            _ => unproven("more than one credential found"),
        }
    }

    fn is_own_host(&self, request: &Seen) -> bool {
        let Some(host) = request.header("host") else { return false };
        let name = host.strip_suffix(&format!(":{}", self.port)).unwrap_or(host);
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Service {
    /// Returns an error in the service's own format.
    fn error(self, request: &Seen, status: StatusCode, message: &str) -> Answer {
        match self {
            Self::Mpc => mpc::error(status, message),
            Self::Iam => iam::error(status, message),
            Self::Sts => sts::error(request, status, "STS5.0001", message),
            Self::Metadata | Self::PodIdentity => Answer::text(status, message),
        }
    }
}
