//! The stand-in cloud, as tests see and change it.

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

/// The stand-in cloud: jobs, keys, tokens, faults, and what was seen.
pub struct Cloud {
    state: Mutex<State>,
}

/// What there is in it.
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
    /// What IAM allows an access key. Everything where it is not named.
    pub(super) allowed: BTreeMap<String, Vec<String>>,
    pub(super) faults: Vec<Planned>,
    /// How long what a service hands out is in force, where the test has chosen.
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

    /// From now on it is this body that asked for a job that is there.
    pub fn set_job_request(&self, project_id: &str, job_id: &str, request: Value) {
        if let Some(job) = self.state.lock().jobs.get_mut(project_id, job_id) {
            job.request = Some(request);
        }
    }

    /// The body that asked for a job. `None` where there is no such job, or a test just put it there.
    pub fn job_request(&self, project_id: &str, job_id: &str) -> Option<Value> {
        self.state.lock().jobs.get(project_id, job_id)?.request.clone()
    }

    /// From now on MPC differs so from what is documented.
    pub fn set_differences(&self, differences: impl IntoIterator<Item = Difference>) {
        self.state.lock().jobs.differences = differences.into_iter().collect();
    }

    /// In what MPC differs.
    pub fn differences(&self) -> Vec<Difference> {
        self.state.lock().jobs.differences.clone()
    }

    /// From now on MPC cannot read these buckets.
    pub fn set_unreadable_buckets(&self, buckets: Vec<String>) {
        self.state.lock().jobs.unreadable = buckets;
    }

    /// From now on IAM allows an access key these actions and no others; all where `None`.
    pub fn set_allowed_actions(&self, access_key: &str, actions: Option<Vec<String>>) {
        let mut state = self.state.lock();
        state.allowed.remove(access_key);
        state.allowed.extend(actions.map(|actions| (access_key.to_owned(), actions)));
    }

    /// A job's state. `None` where there is no such job, or it was cancelled.
    pub fn job_state(&self, project_id: &str, job_id: &str) -> Option<JobState> {
        Some(self.state.lock().jobs.get(project_id, job_id)?.state)
    }

    /// What arrived, oldest first: the last 50,000 requests.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.lock().seen.iter().cloned().collect()
    }

    /// Forgets what arrived.
    pub fn clear_requests(&self) {
        self.state.lock().seen.clear();
    }

    /// Replaces the faults that are to come.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Planned>) {
        self.state.lock().faults = faults.into_iter().collect();
    }

    /// The faults that are still to come.
    pub fn faults(&self) -> Vec<Planned> {
        self.state.lock().faults.clone()
    }

    /// Accepts this access key from now on, without an end and unlocked, in place of one of the same id.
    pub fn put_access_key(&self, key: AccessKey) {
        self.state.lock().keys.put(key);
    }

    /// Accepts this access key no longer, whether it was brought or handed out.
    pub fn revoke_access_key(&self, id: &str) {
        self.state.lock().keys.revoke(id);
    }

    /// Accepts no key any longer that was handed out.
    pub fn revoke_temporary_keys(&self) {
        self.state.lock().keys.revoke_temporary();
    }

    /// How often signatures with this access key were bad in a row: five lock it for 5 minutes, for everybody.
    /// `None` where there is no such key.
    pub fn bad_signatures(&self, id: &str) -> Option<Attempts> {
        let state = self.state.lock();
        state.keys.attempts(id, state.now())
    }

    /// A new user token for the project, valid for 24 hours.
    pub fn issue_token(&self, project_id: &str) -> String {
        let mut state = self.state.lock();
        let term = state.issuing(Service::Iam).term(TOKEN_LIFETIME);
        state.tokens.issue(project_id, Scope::Project, term)
    }

    /// Takes a user token of the test's own as if it had been issued now.
    pub fn accept_token(&self, token: Secret, project_id: &str) {
        let mut state = self.state.lock();
        let term = state.issuing(Service::Iam).term(TOKEN_LIFETIME);
        state.tokens.accept(token, project_id, term);
    }

    /// Takes all of IAM's tokens out of force.
    pub fn revoke_tokens(&self) {
        self.state.lock().tokens.revoke_all();
    }

    /// Lets this user sign in, in place of one of the same name. The account is unlocked.
    pub fn put_user(&self, user: User) {
        self.state.lock().users.put(user);
    }

    /// How often this user's password was wrong in a row: five times lock the account for 15 minutes. `None`
    /// where there is no such user.
    pub fn wrong_passwords(&self, domain: &str, name: &str) -> Option<Attempts> {
        let state = self.state.lock();
        state.users.attempts(domain, name, state.now())
    }

    /// Believes this identity provider, in place of one of the same id. Its former id token is no longer genuine.
    pub fn put_identity_provider(&self, provider: IdentityProvider) {
        let mut state = self.state.lock();
        state.identity_providers.retain(|known| known.id != provider.id);
        state.identity_providers.push(provider);
    }

    /// Has this agency, in place of one of the same URN.
    pub fn put_agency(&self, agency: Agency) {
        let mut state = self.state.lock();
        state.agencies.retain(|known| known.urn != agency.urn);
        state.agencies.push(agency);
    }

    /// Lets this pod ask for keys, in place of the one at the same path.
    pub fn put_pod(&self, pod: Pod) {
        let mut state = self.state.lock();
        state.pods.retain(|known| known.path != pod.path);
        state.pods.push(pod);
    }

    /// Changes how the metadata service behaves, where there is one.
    pub fn set_metadata_mode(&self, mode: MetadataMode) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.mode = mode;
        }
    }

    /// Replaces the metadata service's key when it is asked for with no more than this left: an hour at first.
    pub fn set_metadata_rotation(&self, before_end: TimeDelta) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.replaced_before_end = before_end;
        }
    }

    /// Replaces the metadata service's key when it is next asked for. The one before stays in force.
    pub fn rotate_metadata_key(&self) {
        if let Some(metadata) = &mut self.state.lock().metadata {
            metadata.rotate();
        }
    }

    /// From now on, what this service hands out is in force for so long, whatever is asked for: tokens and keys
    /// of IAM, keys of the others. `None` is as documented again.
    pub fn set_lifetime(&self, service: Service, lifetime: Option<TimeDelta>) {
        let mut state = self.state.lock();
        state.lifetimes.remove(&service);
        state.lifetimes.extend(lifetime.map(|lifetime| (service, lifetime)));
    }

    /// Sets the server's clock this far from the true one; ahead where positive. A caller who signs by the true
    /// time is believed for 15 minutes either way: to see its keys expire, give them a shorter lifetime.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.state.lock().clock_offset = offset;
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.state.lock().now()
    }

    /// As documented: `<uuid>-<timestamp>-<hostname>`.
    pub(super) fn new_request_id(&self) -> String {
        format!("{}-{}-testserver", Uuid::new_v4(), self.now().timestamp_millis())
    }

    /// Remembers a request.
    pub(super) fn record(&self, request: &Seen) {
        let mut state = self.state.lock();
        if state.seen.len() == MAX_SEEN {
            state.seen.pop_front();
        }
        state.seen.push_back(request.clone());
    }

    /// Remembers what more became known of a request.
    pub(super) fn amend(&self, request: &Seen) {
        let mut state = self.state.lock();
        if let Some(seen) = state.seen.iter_mut().rfind(|seen| seen.request_id == request.request_id) {
            seen.clone_from(request);
        }
    }

    /// What happens to a request.
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

    /// When, and for how long, a service hands something out.
    pub(super) fn issuing(&self, service: Service) -> Issuing {
        Issuing { now: self.now(), chosen: self.lifetimes.get(&service).copied() }
    }
}

const MAX_SEEN: usize = 50_000;
