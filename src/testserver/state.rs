//! The state of the stand-in cloud.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use chrono::{DateTime, TimeDelta, Utc};

use super::faults::Planned;
use super::federation::IdentityProvider;
use super::iam::Users;
use super::keys::Keys;
use super::metadata::Metadata;
use super::mpc::Jobs;
use super::options::Options;
use super::pod_identity::Pod;
use super::secrets::Issuing;
use super::seen::Seen;
use super::service::Service;
use super::sts::Agency;
use super::tokens::Tokens;
use crate::clock;

/// What there is.
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
