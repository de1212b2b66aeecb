//! The stand-in cloud's interface for tests.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use super::{
    AccessKey, Agency, Attempts, Difference, IdentityProvider, JobState, MetadataMode, Options, Planned, Pod,
    Seen, Service, User,
    answer::Reply,
    iam::{TOKEN_LIFETIME, Users},
    keys::Keys,
    metadata::Metadata,
    mpc::Jobs,
    secrets::Issuing,
    tokens::{Scope, Tokens},
};
use crate::{clock, secret::Secret};

/// The stand-in cloud: jobs, keys, tokens, faults, and the requests seen.
pub struct Cloud {
    state: Mutex<State>,
}

/// The state of the cloud.
pub(super) struct State {
    pub(super) hosts: Vec<String>,
    pub(super) port: u16,
    pub(super) keys: Keys,
    pub(super) tokens: Tokens,
    pub(super) users: Users,
    pub(super) metadata: Option<Metadata>,
    pub(super) pods: Vec<Pod>,
    pub(super) identity_providers: Vec<IdentityProvider>,
    pub(super) agencies: Vec<Agency>,
    pub(super) jobs: Jobs,
    /// The actions that IAM allows an access key; all if it is not listed.
    pub(super) allowed: BTreeMap<String, Vec<String>>,
    pub(super) faults: Vec<Planned>,
    /// The lifetimes of issued credentials, if set by the test.
    pub(super) lifetimes: BTreeMap<Service, TimeDelta>,
    pub(super) seen: VecDeque<Seen>,
    pub(super) clock_offset: TimeDelta,
}

impl Cloud {
    pub(super) fn new(address: SocketAddr, options: Options) -> Self {
        Self { state: Mutex::new(State::new(address, options)) }
    }

    /// Adds a job, or changes its state.
    pub fn put_job(&self, project_id: &str, job_id: &str, state: JobState) {
        let mut cloud = self.state.lock();
        let now = cloud.now();
        cloud.jobs.put(project_id, job_id, now).state = state;
    }

    /// Sets the create request of an existing job.
    pub fn set_job_request(&self, project_id: &str, job_id: &str, request: Value) {
        if let Some(job) = self.state.lock().jobs.get_mut(project_id, job_id) {
            job.request = Some(request);
        }
    }

    /// Returns the create request of a job. `None` if there is no such job, or a test added it.
    pub fn job_request(&self, project_id: &str, job_id: &str) -> Option<Value> {
        self.state.lock().jobs.get(project_id, job_id)?.request.clone()
    }

    /// Sets how MPC differs from its documentation.
    pub fn set_differences(&self, differences: impl IntoIterator<Item = Difference>) {
        self.state.lock().jobs.differences = differences.into_iter().collect();
    }

    /// Returns how MPC differs.
    pub fn differences(&self) -> Vec<Difference> {
        self.state.lock().jobs.differences.clone()
    }

    /// Sets the buckets that MPC cannot read.
    pub fn set_unreadable_buckets(&self, buckets: Vec<String>) {
        self.state.lock().jobs.unreadable = buckets;
    }

    /// Sets the actions that IAM allows an access key. `None` allows all.
    pub fn set_allowed_actions(&self, access_key: &str, actions: Option<Vec<String>>) {
        let mut state = self.state.lock();
        state.allowed.remove(access_key);
        state.allowed.extend(actions.map(|actions| (access_key.to_owned(), actions)));
    }

    /// Returns a job's state. `None` if there is no such job, or it was cancelled.
    pub fn job_state(&self, project_id: &str, job_id: &str) -> Option<JobState> {
        Some(self.state.lock().jobs.get(project_id, job_id)?.state)
    }

    /// Returns the latest 50,000 requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.lock().seen.iter().cloned().collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.state.lock().seen.clear();
    }

    /// Replaces the planned faults.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Planned>) {
        self.state.lock().faults = faults.into_iter().collect();
    }

    /// Returns the planned faults that are left.
    pub fn faults(&self) -> Vec<Planned> {
        self.state.lock().faults.clone()
    }

    /// Accepts this access key from now on, without expiry and unlocked. Replaces one with the same id.
    pub fn put_access_key(&self, key: AccessKey) {
        self.state.lock().keys.put(key);
    }

    /// Revokes an access key, whether the test added it or it was issued.
    pub fn revoke_access_key(&self, id: &str) {
        self.state.lock().keys.revoke(id);
    }

    /// Revokes all issued keys.
    pub fn revoke_temporary_keys(&self) {
        self.state.lock().keys.revoke_temporary();
    }

    /// Returns the number of bad signatures in a row with this access key; five lock it for 5 minutes. `None` if there is no
    /// such key.
    pub fn bad_signatures(&self, id: &str) -> Option<Attempts> {
        let state = self.state.lock();
        state.keys.attempts(id, state.now())
    }

    /// Issues a user token for the project, valid for 24 hours.
    pub fn issue_token(&self, project_id: &str) -> String {
        let mut state = self.state.lock();
        let term = state.issuing(Service::Iam).term(TOKEN_LIFETIME);
        state.tokens.issue(project_id, Scope::Project, term)
    }

    /// Accepts a user token of the test's own as if it had just been issued.
    pub fn accept_token(&self, token: Secret, project_id: &str) {
        let mut state = self.state.lock();
        let term = state.issuing(Service::Iam).term(TOKEN_LIFETIME);
        state.tokens.accept(token, project_id, term);
    }

    /// Revokes all of IAM's tokens.
    pub fn revoke_tokens(&self) {
        self.state.lock().tokens.revoke_all();
    }

    /// Lets this user sign in, with an unlocked account. Replaces one with the same name.
    pub fn put_user(&self, user: User) {
        self.state.lock().users.put(user);
    }

    /// Returns the number of wrong passwords in a row of this user; five lock the account for 15 minutes. `None` if there is
    /// no such user.
    pub fn wrong_passwords(&self, domain: &str, name: &str) -> Option<Attempts> {
        let state = self.state.lock();
        state.users.attempts(domain, name, state.now())
    }

    /// Trusts this identity provider. Replaces one with the same id, whose id token becomes invalid.
    pub fn put_identity_provider(&self, provider: IdentityProvider) {
        let mut state = self.state.lock();
        state.identity_providers.retain(|known| known.id != provider.id);
        state.identity_providers.push(provider);
    }

    /// Adds this agency. Replaces one with the same URN.
    pub fn put_agency(&self, agency: Agency) {
        let mut state = self.state.lock();
        state.agencies.retain(|known| known.urn != agency.urn);
        state.agencies.push(agency);
    }

    /// Lets this pod request keys. Replaces the one at the same path.
    pub fn put_pod(&self, pod: Pod) {
        let mut state = self.state.lock();
        state.pods.retain(|known| known.path != pod.path);
        state.pods.push(pod);
    }

    /// Sets how the metadata service behaves, if there is one.
    pub fn set_metadata_mode(&self, mode: MetadataMode) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.mode = mode;
        }
    }

    /// Sets how long before its end the metadata service replaces its key on request, at first an hour.
    pub fn set_metadata_rotation(&self, before_end: TimeDelta) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.replaced_before_end = before_end;
        }
    }

    /// Replaces the metadata service's key at its next request. The previous one stays valid.
    pub fn rotate_metadata_key(&self) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.rotate();
        }
    }

    /// Sets the lifetime of credentials that this service issues from now on, whatever is requested. `None` restores the
    /// documented one.
    pub fn set_lifetime(&self, service: Service, lifetime: Option<TimeDelta>) {
        let mut state = self.state.lock();
        state.lifetimes.remove(&service);
        state.lifetimes.extend(lifetime.map(|lifetime| (service, lifetime)));
    }

    /// Sets the offset of the server's clock, ahead if positive. Signatures by the true time are accepted up to 15 minutes
    /// either way; to see keys expire, give them a shorter lifetime.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.state.lock().clock_offset = offset;
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.state.lock().now()
    }

    /// Creates a request id as documented: `<uuid>-<timestamp>-<hostname>`.
    pub(super) fn new_request_id(&self) -> String {
        format!("{}-{}-testserver", Uuid::new_v4(), self.now().timestamp_millis())
    }

    /// Records a request.
    pub(super) fn record(&self, request: &Seen) {
        let mut state = self.state.lock();
        if state.seen.len() == MAX_SEEN {
            state.seen.pop_front();
        }
        state.seen.push_back(request.clone());
    }

    /// Updates a recorded request.
    pub(super) fn amend(&self, request: &Seen) {
        let mut state = self.state.lock();
        if let Some(seen) = state.seen.iter_mut().rfind(|seen| seen.request_id == request.request_id) {
            seen.clone_from(request);
        }
    }

    /// Reacts to a request.
    pub(super) fn serve(&self, request: &Seen) -> Reply {
        self.state.lock().serve(request)
    }
}

impl State {
    pub(super) fn new(address: SocketAddr, options: Options) -> Self {
        let mut hosts = options.hosts;
        let text = address.to_string();
        hosts.extend(text.rsplit_once(':').map(|(ip, _)| ip.to_owned()));
        hosts.push("localhost".to_owned());
        Self {
            hosts,
            port: address.port(),
            keys: Keys::new(options.access_keys),
            tokens: Tokens::default(),
            users: Users::new(options.users),
            metadata: options.metadata.map(Metadata::new),
            pods: options.pods,
            identity_providers: options.identity_providers,
            agencies: options.agencies,
            jobs: Jobs::default(),
            allowed: BTreeMap::new(),
            faults: Vec::new(),
            lifetimes: BTreeMap::new(),
            seen: VecDeque::new(),
            clock_offset: TimeDelta::zero(),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        clock::now() + self.clock_offset
    }

    /// Returns the time and lifetime for issuing a credential.
    pub(super) fn issuing(&self, service: Service) -> Issuing {
        Issuing { now: self.now(), chosen: self.lifetimes.get(&service).copied() }
    }
}

const MAX_SEEN: usize = 50_000;
