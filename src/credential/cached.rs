//! The last good value of a credential, which is lent to requests.
//!
//! The renewal puts values in, and stages borrow them without a lock. If there is no usable value, all requests wait for one
//! round of the renewal, so their number does not change how often a source is asked. Before a key is lent, its health must
//! permit one more signature.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{
    Credential, CredentialStatus, Provided, SourceCandidate, Verdict,
    health::{KeyHealth, KeyHealthRegistry, Permit, PermitDenied},
};
use crate::{log::LIMITED, reason::Reason};

/// A configured credential and its last good value.
pub struct CachedCredential {
    name: Arc<str>,
    source: &'static str,
    keys: KeyHealthRegistry,
    current: ArcSwapOption<Value>,
    rounds: watch::Sender<RefreshRounds>,
    /// The number of the value that requests wait for.
    wanted: AtomicU64,
    asked: Notify,
}

struct Value {
    /// Its number, from 1. A source that returns the same value again does not change it.
    number: u64,
    credential: Credential,
    expires_at: Option<DateTime<Utc>>,
    /// Its end by the monotonic clock.
    until: Option<Instant>,
    /// The health of an access key. Tokens have none, because bad signatures cannot lock them.
    health: Option<Arc<KeyHealth>>,
    /// Whether upstream said that it has expired, and there was no newer one.
    ended: Arc<AtomicBool>,
}

/// The rounds of a source, and the result of the last.
#[derive(Clone, Default)]
struct RefreshRounds {
    number: u64,
    problem: Option<Arc<str>>,
    /// The source is not asked again before then.
    quiet_until: Option<Instant>,
    candidates: Arc<[SourceCandidate]>,
}

/// A value lent for one attempt, with permission to sign. Dropping it says nothing about the value; see
/// [`CachedCredential::answered`].
pub struct Lease {
    leased: LeasedCredential,
    permit: Option<Permit>,
}

/// The value of a lease.
#[derive(Clone)]
pub struct LeasedCredential(Arc<Value>);

/// Why no value can be lent. Holds when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no value, or it has expired without a new one.
    #[error("{}", self.reason())]
    Missing(Duration),
    /// Upstream rejected the last signatures.
    #[error("{}", self.reason())]
    HeldBack(Duration),
    /// The maximum number of signatures is unanswered.
    #[error("{}", self.reason())]
    Crowded,
}

impl Unavailable {
    /// Returns the reason for the record.
    pub fn reason(self) -> Reason {
        match self {
            Self::Missing(_) => Reason::NoCredential,
            Self::HeldBack(_) => Reason::CredentialHeldBack,
            Self::Crowded => Reason::SignaturesUnanswered,
        }
    }
}

impl CachedCredential {
    /// Creates a credential without a value. `source` is its kind, as in the configuration.
    pub(super) fn new(name: Arc<str>, source: &'static str, keys: KeyHealthRegistry) -> Self {
        Self {
            name,
            source,
            keys,
            current: ArcSwapOption::empty(),
            rounds: watch::Sender::new(RefreshRounds::default()),
            wanted: AtomicU64::new(0),
            asked: Notify::new(),
        }
    }

    /// Returns its configured name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the kind of its source, as in the configuration.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Lends the current value. Waits until `deadline` if there is none, or the maximum number of signatures is unanswered.
    ///
    /// # Errors
    /// If no value can be lent now.
    pub async fn lease(&self, deadline: Instant) -> Result<Lease, Unavailable> {
        if let Some(value) = self.in_force() {
            match self.admitted(value, deadline).await {
                // There may be a newer one.
                Err(Unavailable::HeldBack(_)) => {}
                lease => return lease,
            }
        }
        // The same value with a later end will do.
        let value = self.renewed(self.number() + 1, 0, deadline).await?;
        self.admitted(value, deadline).await
    }

    /// Lends a newer value than this one, which upstream no longer accepts. The source is asked once for all callers that
    /// wait meanwhile.
    ///
    /// # Errors
    /// If there is no newer value.
    pub async fn lease_newer(
        &self,
        than: &LeasedCredential,
        deadline: Instant,
    ) -> Result<Lease, Unavailable> {
        let number = than.0.number;
        let value = match self.usable(number) {
            Some(value) => value,
            None => self.renewed(number + 1, number, deadline).await?,
        };
        self.admitted(value, deadline).await
    }

    /// Reports upstream's verdict on this lease. After three refusals in a row the key is suspended.
    pub fn answered(&self, lease: Lease, verdict: Verdict) {
        let Lease { leased, permit } = lease;
        if verdict == Verdict::Accepted && leased.0.ended.load(Relaxed) {
            leased.0.ended.store(false, Relaxed);
        }
        if verdict == Verdict::Refused {
            let (credential, source, key_hint) = (&*self.name, self.source, leased.0.credential.key_hint());
            let error = format!("the keys of {credential} do not match, or upstream does not know them");
            tracing::warn!(target: LIMITED, credential, source, key_hint, error, "upstream rejected a signature");
        }
        if let Some(held_back) = permit.and_then(|permit| permit.answered(verdict)) {
            let (credential, source) = (&*self.name, self.source);
            let seconds = held_back.as_secs();
            tracing::error!(
                credential,
                source,
                seconds,
                "upstream rejected this credential's signatures three times in a row: suspended until it \
                 changes, or for as long as upstream would lock the key"
            );
        }
    }

    /// Notes that upstream says this value has expired, and that there is no newer one. Logged once.
    pub fn ended(&self, leased: &LeasedCredential) {
        if !leased.0.ended.swap(true, Relaxed) {
            let (credential, source) = (&*self.name, self.source);
            tracing::error!(
                credential,
                source,
                "upstream reports this credential expired, and its source has no newer one: its calls fail \
                 until it changes"
            );
        }
    }

    /// Returns its status.
    pub fn state(&self) -> CredentialStatus {
        let value = self.current.load();
        let rounds = self.rounds.borrow();
        let (problem, candidates) = (rounds.problem.clone(), Arc::clone(&rounds.candidates));
        let Some(value) = value.as_deref() else {
            return CredentialStatus { problem, candidates, ..CredentialStatus::default() };
        };
        let (in_force, ended) = (!value.has_expired(), value.ended.load(Relaxed));
        let held_back = value.held_back();
        CredentialStatus {
            ready: in_force && !ended && held_back.is_none(),
            in_force,
            key_hint: value.credential.key_hint().map(str::to_owned),
            expires_at: value.expires_at,
            left: value.until.map(|until| left(until + EXPIRY_MARGIN)),
            held_back,
            problem: problem.or_else(|| ended.then(|| HAS_ENDED.into())),
            candidates,
        }
    }

    /// Whether calls can use it: it has a value that has not expired, and is not suspended.
    pub fn is_ready(&self) -> bool {
        self.current.load().as_deref().is_some_and(Value::is_ready)
    }

    /// Returns when its source has been asked once.
    pub async fn asked_once(&self) {
        // The sender lives as long as `self`.
        drop(self.rounds.subscribe().wait_for(|rounds| rounds.number > 0).await);
    }

    /// Puts a value in force for its life. Returns whether it differs from the previous one.
    pub(super) fn put(&self, provided: Provided, life: Option<Duration>) -> bool {
        let Provided { credential, expires_at } = provided;
        let until = life.map(|life| Instant::now() + life.saturating_sub(EXPIRY_MARGIN));
        let expires_at = expires_at.map(|end| end.at);
        let before = self.current.load_full();
        let same = before.as_ref().filter(|before| before.credential == credential);
        let changed = same.is_none();
        let (number, health, ended) = match same {
            Some(same) => (same.number, same.health.clone(), Arc::clone(&same.ended)),
            None => (self.number() + 1, self.health_of(&credential), Arc::default()),
        };
        self.current.store(Some(Arc::new(Value { number, credential, expires_at, until, health, ended })));
        if changed && let Some(former) = before.and_then(|before| before.health.clone()) {
            former.replaced();
        }
        changed
    }

    fn health_of(&self, credential: &Credential) -> Option<Arc<KeyHealth>> {
        match credential {
            Credential::Key(key) => Some(self.keys.of(key)),
            Credential::Token(_) => None,
        }
    }

    /// Ends a round, and wakes the requests that wait for it.
    pub(super) fn close_round(
        &self,
        problem: Option<Arc<str>>,
        candidates: Arc<[SourceCandidate]>,
        quiet: Option<Duration>,
    ) {
        self.wanted.store(0, Relaxed);
        self.rounds.send_modify(|rounds| {
            let quiet_until = quiet.map(|quiet| Instant::now() + quiet);
            *rounds = RefreshRounds { number: rounds.number + 1, problem, quiet_until, candidates };
        });
    }

    /// Returns when requests want a newer value than there is.
    pub(super) async fn wanted(&self) {
        while !self.is_wanted() {
            self.asked.notified().await;
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) > self.number()
    }

    /// Returns the number of the current value; 0 if there never was one.
    fn number(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |value| value.number)
    }

    fn in_force(&self) -> Option<Arc<Value>> {
        self.current.load_full().filter(|value| !value.has_expired())
    }

    /// Returns the current value, if it is newer than this number and usable now.
    fn usable(&self, than: u64) -> Option<Arc<Value>> {
        self.in_force().filter(|value| value.number > than && value.held_back().is_none())
    }

    /// Waits for permission to sign with this value, or with its replacement.
    async fn admitted(&self, mut value: Arc<Value>, deadline: Instant) -> Result<Lease, Unavailable> {
        loop {
            let permit = match &value.health {
                None => None,
                Some(health) => match health.admit(deadline).await {
                    Ok(permit) => Some(permit),
                    Err(PermitDenied::HeldBack(until)) => return Err(Unavailable::HeldBack(left(until))),
                    Err(PermitDenied::Crowded) => return Err(Unavailable::Crowded),
                    Err(PermitDenied::Replaced) => {
                        value = self.usable(0).ok_or_else(|| self.unavailable())?;
                        continue;
                    }
                },
            };
            // It may have been replaced at the moment in which the wait ended.
            if value.number >= self.number() {
                return Ok(Lease { leased: LeasedCredential(value), permit });
            }
            value = self.usable(0).ok_or_else(|| self.unavailable())?;
        }
    }

    /// Requests a value with this number, waits for one round, and returns a value newer than `than`.
    async fn renewed(&self, wanted: u64, than: u64, deadline: Instant) -> Result<Arc<Value>, Unavailable> {
        let mut rounds = self.rounds.subscribe();
        // Read before the value, so that a round that ends in between is not missed.
        let quiet = rounds.borrow_and_update().cooldown();
        if let Some(value) = self.usable(than) {
            return Ok(value);
        }
        if quiet.is_none() {
            self.wanted.fetch_max(wanted, Relaxed);
            self.asked.notify_one();
            // After a time-out, too, the current value counts.
            drop(timeout_at(deadline, rounds.changed()).await);
        }
        self.usable(than).ok_or_else(|| self.unavailable())
    }

    fn unavailable(&self) -> Unavailable {
        match self.state().held_back {
            Some(left) => Unavailable::HeldBack(left),
            None => Unavailable::Missing(self.rounds.borrow().cooldown().unwrap_or(RETRY_SOON)),
        }
    }
}

impl RefreshRounds {
    /// Returns how long the source will not be asked again.
    fn cooldown(&self) -> Option<Duration> {
        let left = self.quiet_until.map(|until| until.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero())
    }
}

impl Value {
    fn has_expired(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn held_back(&self) -> Option<Duration> {
        self.health.as_ref().and_then(|health| health.held_back()).map(left)
    }

    fn is_ready(&self) -> bool {
        !self.has_expired() && !self.ended.load(Relaxed) && self.held_back().is_none()
    }
}

impl Lease {
    /// Returns the credential.
    pub fn credential(&self) -> &Credential {
        self.leased.credential()
    }

    /// Returns the value without the permission to sign.
    pub fn leased(&self) -> LeasedCredential {
        self.leased.clone()
    }
}

impl LeasedCredential {
    /// Returns the credential.
    pub fn credential(&self) -> &Credential {
        &self.0.credential
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// A signature made this shortly before the key expires may arrive after it, and would count as a bad one.
const EXPIRY_MARGIN: Duration = Duration::from_secs(1);
/// When to try again by default.
const RETRY_SOON: Duration = Duration::from_secs(1);
const HAS_ENDED: &str = "expired according to upstream (401 APIGW.0307), and its source has no newer one";
