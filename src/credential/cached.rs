//! Last good value of a credential, which is lent to requests.
//!
//! It stands between the renewal, which puts values in, and the stages, which borrow them. Reading it takes no
//! lock. Where there is no value that can be used, requests wait together for one round of the renewal, and no
//! longer: how many of them wait makes no difference to how often a source is asked. Before a key is lent, its
//! health is asked whether there may be one more signature.

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

/// A configured credential and the last good value of it.
pub struct CachedCredential {
    name: Arc<str>,
    source: &'static str,
    keys: KeyHealthRegistry,
    current: ArcSwapOption<Value>,
    rounds: watch::Sender<RefreshRounds>,
    /// Requests want a value with at least this number.
    wanted: AtomicU64,
    asked: Notify,
}

/// One value of a credential, whole: it is replaced, never changed.
struct Value {
    /// Counted from 1; the same for a value that was given again.
    number: u64,
    credential: Credential,
    expires_at: Option<DateTime<Utc>>,
    /// The same by this process's clock, which nobody sets.
    until: Option<Instant>,
    /// That of an access key. Tokens have no signatures that could lock them.
    health: Option<Arc<KeyHealth>>,
    /// Whether upstream said that it has ended, and there was no newer one.
    ended: Arc<AtomicBool>,
}

/// How often a source was asked, and what came of it.
#[derive(Clone, Default)]
struct RefreshRounds {
    number: u64,
    problem: Option<Arc<str>>,
    /// Asking it again before then is no use.
    quiet_until: Option<Instant>,
    candidates: Arc<[SourceCandidate]>,
}

/// A value that is lent for one attempt, with leave to sign it. Dropped, it says nothing about the value; see
/// [`CachedCredential::answered`].
pub struct Lease {
    leased: LeasedCredential,
    permit: Option<Permit>,
}

/// The value of a lease.
#[derive(Clone)]
pub struct LeasedCredential(Arc<Value>);

/// Why there is nothing to lend. Holds when it may be worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no value, or the last has expired and no new one came.
    #[error("{}", self.reason())]
    Missing(Duration),
    /// Upstream did not believe the last signatures.
    #[error("{}", self.reason())]
    HeldBack(Duration),
    /// As many signatures as may be are without an answer.
    #[error("{}", self.reason())]
    Crowded,
}

impl Unavailable {
    /// The cause.
    pub fn reason(self) -> Reason {
        match self {
            Self::Missing(_) => Reason::NoCredential,
            Self::HeldBack(_) => Reason::CredentialHeldBack,
            Self::Crowded => Reason::SignaturesUnanswered,
        }
    }
}

impl CachedCredential {
    /// A credential without a value. The source is the kind of it, as in the configuration.
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

    /// The name it has in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The kind of its source, as in the configuration.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Lends the value in force. Waits until `deadline` where there is none, or as many signatures as may be are
    /// without an answer.
    ///
    /// # Errors
    /// Where nothing can be lent now.
    pub async fn lease(&self, deadline: Instant) -> Result<Lease, Unavailable> {
        if let Some(value) = self.in_force() {
            match self.admitted(value, deadline).await {
                // There may be a newer one.
                Err(Unavailable::HeldBack(_)) => {}
                lease => return lease,
            }
        }
        // Also the same value will do, where it is given again for longer.
        let value = self.renewed(self.number() + 1, 0, deadline).await?;
        self.admitted(value, deadline).await
    }

    /// Lends a newer value than that one, because upstream does not accept it any more. Asks the source for one,
    /// once for all who ask meanwhile.
    ///
    /// # Errors
    /// Where there is none to be had.
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

    /// Upstream answered what was sent with this lease. After three refusals in a row the key is held back.
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

    /// Upstream says that this value has ended, and there is no newer one to be had. It is told once.
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

    /// What there is to tell of it.
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

    /// Whether calls can be made with it: it has a value that has neither expired nor ended, and is not held back.
    pub fn is_ready(&self) -> bool {
        self.current.load().as_deref().is_some_and(Value::is_ready)
    }

    /// Returns when its source has been asked once.
    pub async fn asked_once(&self) {
        // The sender lives as long as this does.
        drop(self.rounds.subscribe().wait_for(|rounds| rounds.number > 0).await);
    }

    /// Puts a value in force, for so long. Says whether it is another one than before.
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

    /// Ends a round: those who waited for it go on.
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

    /// Whether requests want a newer value than there is.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) > self.number()
    }

    /// The number of the current value; 0 where there never was one.
    fn number(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |value| value.number)
    }

    /// The value in force, if there is one.
    fn in_force(&self) -> Option<Arc<Value>> {
        self.current.load_full().filter(|value| !value.has_expired())
    }

    /// The value in force, if it is newer than that one and may be used now.
    fn usable(&self, than: u64) -> Option<Arc<Value>> {
        self.in_force().filter(|value| value.number > than && value.held_back().is_none())
    }

    /// Lends this value, or the one that replaces it meanwhile, when there may be one more signature.
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
            // It may have been replaced in the moment in which this call had waited long enough.
            if value.number >= self.number() {
                return Ok(Lease { leased: LeasedCredential(value), permit });
            }
            value = self.usable(0).ok_or_else(|| self.unavailable())?;
        }
    }

    /// Asks for a value with that number. Waits for one round of the renewal, and gives what is newer than `than`.
    async fn renewed(&self, wanted: u64, than: u64, deadline: Instant) -> Result<Arc<Value>, Unavailable> {
        let mut rounds = self.rounds.subscribe();
        // Looked at before the value is, so that a round that ends in between is not missed.
        let quiet = rounds.borrow_and_update().cooldown();
        if let Some(value) = self.usable(than) {
            return Ok(value);
        }
        if quiet.is_none() {
            self.wanted.fetch_max(wanted, Relaxed);
            self.asked.notify_one();
            // Time-out or not: what counts is what there is now.
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
    /// For how long asking the source again is no use.
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
    /// What is lent.
    pub fn credential(&self) -> &Credential {
        self.leased.credential()
    }

    /// The value alone: for whoever signs, and to ask for a newer one.
    pub fn leased(&self) -> LeasedCredential {
        self.leased.clone()
    }
}

impl LeasedCredential {
    /// What is lent.
    pub fn credential(&self) -> &Credential {
        &self.0.credential
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// What is signed so shortly before its key ends may arrive after it, and then counts as a bad signature.
const EXPIRY_MARGIN: Duration = Duration::from_secs(1);
/// When to try again where nobody knows better.
const RETRY_SOON: Duration = Duration::from_secs(1);
const HAS_ENDED: &str = "expired according to upstream (401 APIGW.0307), and its source has no newer one";
