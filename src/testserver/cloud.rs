//! What does the cloud hold, and what has it seen? The state behind the socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Options;
use super::answer::{Answer, Problem, Reply};
use super::faults::{self, Fault, Planned, Service};
use super::iam::{self, Tokens, User};
use super::mpc::{Call, JobState, Jobs};
use super::verify::{self, AccessKey};
use crate::clock;
use crate::secret::Secret;

/// The stand-in cloud: jobs, tokens, faults, and what was seen.
pub struct Cloud {
    state: Mutex<State>,
}

/// A request that arrived. It holds whatever it was sent, secrets included: only test secrets belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The `X-Request-Id` of its answer, known from the start.
    pub request_id: String,
    /// The port it came from: requests with the same one shared a connection.
    pub peer_port: u16,
    /// The method, as received.
    pub method: String,
    /// The request target, as received.
    pub target: String,
    /// The headers: names in lower case, in the order of their first occurrence; values as received, with
    /// U+FFFD for what is not UTF-8.
    pub headers: Vec<(String, String)>,
    /// The body. In JSON a text.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
    /// The status answered. `None` as long as there is no answer: for ever where the connection was cut.
    pub status: Option<u16>,
}

struct State {
    hosts: Vec<String>,
    port: u16,
    access_keys: Vec<AccessKey>,
    users: Vec<User>,
    tokens: Tokens,
    jobs: Jobs,
    faults: Vec<Planned>,
    seen: VecDeque<Seen>,
    clock_offset: TimeDelta,
}

impl Cloud {
    pub(super) fn new(address: SocketAddr, options: Options) -> Self {
        let mut hosts = options.hosts;
        let text = address.to_string();
        hosts.extend(text.rsplit_once(':').map(|(ip, _)| ip.to_owned()));
        hosts.push("localhost".to_owned());
        let state = State {
            hosts,
            port: address.port(),
            access_keys: options.access_keys,
            users: options.users,
            tokens: Tokens::default(),
            jobs: Jobs::default(),
            faults: Vec::new(),
            seen: VecDeque::new(),
            clock_offset: TimeDelta::zero(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Adds a job, or changes its state.
    pub fn put_job(&self, project_id: &str, job_id: &str, state: JobState) {
        self.state().jobs.put(project_id, job_id, state);
    }

    /// A job's state. `None` where there is no such job, or it was cancelled.
    pub fn job_state(&self, project_id: &str, job_id: &str) -> Option<JobState> {
        self.state().jobs.state(project_id, job_id)
    }

    /// What arrived, oldest first: the last 50,000 requests.
    pub fn requests(&self) -> Vec<Seen> {
        self.state().seen.iter().cloned().collect()
    }

    /// Forgets what arrived.
    pub fn clear_requests(&self) {
        self.state().seen.clear();
    }

    /// Replaces the faults that are to come.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Planned>) {
        self.state().faults = faults.into_iter().collect();
    }

    /// The faults that are still to come.
    pub fn faults(&self) -> Vec<Planned> {
        self.state().faults.clone()
    }

    /// Accepts this access key from now on, in place of one of the same id.
    pub fn put_access_key(&self, key: AccessKey) {
        let mut state = self.state();
        state.access_keys.retain(|known| known.id != key.id);
        state.access_keys.push(key);
    }

    /// Accepts this access key no longer.
    pub fn revoke_access_key(&self, id: &str) {
        self.state().access_keys.retain(|known| known.id != id);
    }

    /// A new user token for the project, valid for 24 hours.
    pub fn issue_token(&self, project_id: &str) -> String {
        let mut state = self.state();
        let now = state.now();
        state.tokens.issue(project_id, now)
    }

    /// Takes a user token of the test's own as if it had been issued now.
    pub fn accept_token(&self, token: Secret, project_id: &str) {
        let mut state = self.state();
        let now = state.now();
        state.tokens.accept(token, project_id, now);
    }

    /// Takes all user tokens out of force.
    pub fn revoke_tokens(&self) {
        self.state().tokens.revoke_all();
    }

    /// Sets the server's clock this far from the true one; ahead where positive.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.state().clock_offset = offset;
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.state().now()
    }

    /// As documented: `<uuid>-<timestamp>-<hostname>`.
    pub(super) fn new_request_id(&self) -> String {
        format!("{}-{}-testserver", Uuid::new_v4(), self.now().timestamp_millis())
    }

    /// Remembers a request.
    pub(super) fn record(&self, request: &Seen) {
        let mut state = self.state();
        if state.seen.len() == MAX_SEEN {
            state.seen.pop_front();
        }
        state.seen.push_back(request.clone());
    }

    /// Remembers what more became known of a request.
    pub(super) fn amend(&self, request: &Seen) {
        let mut state = self.state();
        if let Some(seen) = state.seen.iter_mut().rfind(|seen| seen.request_id == request.request_id) {
            seen.clone_from(request);
        }
    }

    /// What happens to a request for IAM or MPC.
    pub(super) fn serve(&self, request: &Seen) -> Reply {
        let mut state = self.state();
        let service = Service::of(&request.target);
        let fault = faults::take_next(&mut state.faults, service);
        let refused = |problem: Problem| Reply::of(problem.answer(&request.request_id));
        match fault {
            None => Reply::of(state.answer(request)),
            Some(Fault::LatencyMs(ms)) => {
                Reply { delay: Duration::from_millis(ms), ..Reply::of(state.answer(request)) }
            }
            Some(Fault::LoseAnswer) => {
                state.answer(request);
                Reply::reset()
            }
            Some(Fault::Reset) => Reply::reset(),
            Some(Fault::Throttled { retry_after_s }) => refused(Problem::Throttled { retry_after_s }),
            Some(Fault::Unavailable) => refused(Problem::Unavailable),
            Some(Fault::Unauthorized) => refused(Problem::Unproven("as the test asked".into())),
            Some(Fault::TokenRevoked) => {
                if let Some(token) = request.header("x-auth-token") {
                    state.tokens.revoke(token);
                }
                refused(Problem::TokenRefused)
            }
            Some(Fault::InternalError) => match service {
                Service::Mpc => refused(Problem::Internal),
                Service::Iam => {
                    Reply::of(iam::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error."))
                }
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        clock::now() + self.clock_offset
    }

    /// Does what the request asks for, if it may.
    fn answer(&mut self, request: &Seen) -> Answer {
        let now = self.now();
        let answer = match Service::of(&request.target) {
            _ if !self.is_own_host(request) => Err(Problem::NoSuchApi),
            Service::Mpc => self.media(request, now),
            Service::Iam => match (&*request.method, &*request.target) {
                ("POST", "/v3/auth/tokens" | "/v3/auth/tokens?nocatalog=true") => {
                    Ok(iam::sign_in(&self.users, &mut self.tokens, &request.body, now))
                }
                _ => Err(Problem::NoSuchApi),
            },
        };
        answer.unwrap_or_else(|problem| problem.answer(&request.request_id))
    }

    fn media(&mut self, request: &Seen, now: DateTime<Utc>) -> Result<Answer, Problem> {
        let call = Call::parse(&request.method, &request.target).ok_or(Problem::NoSuchApi)?;
        let project_id = verify::project_of(request, &self.access_keys, &self.tokens, now)?;
        // The documentation spells the header `X-Project_Id`, the SDKs `X-Project-Id`. A token says by itself
        // which project it is for; with an access key only the header does.
        let mut named = request.all("x-project-id").chain(request.all("x-project_id")).peekable();
        let unnamed = named.peek().is_none() && request.all("x-auth-token").next().is_none();
        if unnamed || named.any(|id| id != call.project_id) || project_id != call.project_id {
            return Err(Problem::OtherTenant);
        }
        self.jobs.perform(&call, &request.body)
    }

    fn is_own_host(&self, request: &Seen) -> bool {
        let Some(host) = request.header("host") else { return false };
        let name = host.strip_suffix(&format!(":{}", self.port)).unwrap_or(host);
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Seen {
    /// The head of a request whose body is yet to come.
    pub(super) fn arriving(head: &Parts, peer: SocketAddr, request_id: String) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), text(value.as_bytes()));
        Self {
            request_id,
            peer_port: peer.port(),
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.iter().map(header).collect(),
            body: Vec::new(),
            status: None,
        }
    }

    /// The value of a header, by its name in lower case. `None` where it is absent or repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// All values of a header, by its name in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn as_text<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

const MAX_SEEN: usize = 50_000;
