//! What is lent to a request, and what is learnt from its answer? The last good value of a credential.
//!
//! It stands between the renewal, which puts values in, and the stages, which borrow them. Reading it takes no
//! lock. Where there is no value that can be used, requests wait together for one round of the renewal, and no
//! longer: how many of them wait makes no difference to how often a source is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
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
    Credential, Look, Provided,
    standing::{HeldBack, Place, Standing},
};

/// A configured credential and the last good value of it.
pub struct Held {
    name: Arc<str>,
    source: &'static str,
    current: ArcSwapOption<Value>,
    rounds: watch::Sender<Rounds>,
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
    standing: Standing,
}

/// How often a source was asked, and what came of it.
#[derive(Clone, Default)]
struct Rounds {
    number: u64,
    problem: Option<Arc<str>>,
    /// Asking it again before then is no use.
    quiet_until: Option<Instant>,
    looked_at: Arc<[Look]>,
}

/// A value that is lent to one attempt.
#[derive(Clone)]
pub struct Lease {
    value: Arc<Value>,
    _place: Option<Arc<Place>>,
}

/// Why there is nothing to lend. Holds when it may be worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no value, or the last has expired and no new one came.
    #[error("there is no credential for this project now")]
    Missing(Duration),
    /// Upstream did not believe the last signatures.
    #[error(
        "this project's credential is held back: upstream refused its last signatures, and five in a row lock the key"
    )]
    HeldBack(Duration),
}

/// What there is to tell of a credential. No secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether it has a value that has not expired.
    pub ready: bool,
    /// The first characters of its access key.
    pub key_hint: Option<String>,
    /// When its value ends. `None` where it does not, or there is none.
    pub expires_at: Option<DateTime<Utc>>,
    /// For how long it is held back.
    pub held_back: Option<Duration>,
    /// Why its source gave nothing the last time.
    pub problem: Option<Arc<str>>,
    /// Which sources were looked for, where it is the first that is there.
    pub looked_at: Arc<[Look]>,
}

impl Held {
    /// A credential without a value. The source is the kind of it, as in the configuration.
    pub(super) fn new(name: Arc<str>, source: &'static str) -> Self {
        Self {
            name,
            source,
            current: ArcSwapOption::empty(),
            rounds: watch::Sender::new(Rounds::default()),
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

    /// Lends the value in force. Waits until `deadline` where there is none, or few may use it.
    ///
    /// # Errors
    /// Where nothing can be lent now.
    pub async fn lease(&self, deadline: Instant) -> Result<Lease, Unavailable> {
        if let Some(value) = self.usable(0) {
            match admitted(value, deadline).await {
                // It was not before this call waited for a place. There may be a newer one.
                Err(Unavailable::HeldBack(_)) => {}
                lease => return lease,
            }
        }
        // Also the same value will do, where it is given again for longer.
        let value = self.renewed(self.number() + 1, 0, deadline).await?;
        admitted(value, deadline).await
    }

    /// Lends a newer value than that one, because upstream does not accept it any more. Asks the source for one,
    /// once for all who ask meanwhile.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub async fn lease_newer(&self, than: &Lease, deadline: Instant) -> Result<Lease, Unavailable> {
        let number = than.value.number;
        let value = match self.usable(number) {
            Some(value) => value,
            None => self.renewed(number + 1, number, deadline).await?,
        };
        admitted(value, deadline).await
    }

    /// Upstream believed this one's signature.
    pub fn believed(&self, lease: &Lease) {
        lease.value.standing.believed();
    }

    /// Upstream did not believe this one's signature. After three in a row it is held back.
    pub fn doubted(&self, lease: &Lease) {
        if let Some(HeldBack(until)) = lease.value.standing.doubted() {
            let (credential, source) = (&*self.name, self.source);
            let seconds = until.saturating_duration_since(Instant::now()).as_secs();
            tracing::error!(
                credential,
                source,
                seconds,
                "upstream refused this credential's signatures three times in a row: it is held back until it \
                 changes, or for as long as upstream would lock the key"
            );
        }
    }

    /// What there is to tell of it.
    pub fn state(&self) -> State {
        let value = self.current.load();
        let rounds = self.rounds.borrow();
        let (problem, looked_at) = (rounds.problem.clone(), Arc::clone(&rounds.looked_at));
        let Some(value) = value.as_deref() else {
            return State { problem, looked_at, ..State::default() };
        };
        let left = |HeldBack(until): HeldBack| until.saturating_duration_since(Instant::now());
        State {
            ready: !value.has_expired(),
            key_hint: value.credential.key_hint().map(str::to_owned),
            expires_at: value.expires_at,
            held_back: value.standing.held_back().map(left),
            problem,
            looked_at,
        }
    }

    /// Whether it has a value that has not expired.
    pub fn is_ready(&self) -> bool {
        self.current.load().as_deref().is_some_and(|value| !value.has_expired())
    }

    /// Returns when its source has been asked once.
    pub async fn asked_once(&self) {
        // The sender lives as long as this does.
        drop(self.rounds.subscribe().wait_for(|rounds| rounds.number > 0).await);
    }

    /// Puts a value in force, for so long. Says whether it is another one than before.
    pub(super) fn put(&self, provided: Provided, life: Option<Duration>) -> bool {
        let Provided { credential, expires_at } = provided;
        let until = life.map(|life| Instant::now() + life.saturating_sub(LAST_MOMENT));
        let before = self.current.load_full();
        let same = before.filter(|before| before.credential == credential);
        let (number, standing, changed) = match same {
            Some(before) => (before.number, before.standing.clone(), false),
            None => (self.number() + 1, Standing::default(), true),
        };
        self.current.store(Some(Arc::new(Value { number, credential, expires_at, until, standing })));
        changed
    }

    /// Ends a round: those who waited for it go on.
    pub(super) fn close_round(
        &self,
        problem: Option<Arc<str>>,
        looked_at: Arc<[Look]>,
        quiet: Option<Duration>,
    ) {
        self.wanted.store(0, Relaxed);
        self.rounds.send_modify(|rounds| {
            let quiet_until = quiet.map(|quiet| Instant::now() + quiet);
            *rounds = Rounds { number: rounds.number + 1, problem, quiet_until, looked_at };
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

    /// The value in force, if it is newer than that one and can be used.
    fn usable(&self, than: u64) -> Option<Arc<Value>> {
        let value = self.current.load_full()?;
        let usable = value.number > than && !value.has_expired() && value.standing.held_back().is_none();
        usable.then_some(value)
    }

    /// Asks for a value with that number. Waits for one round of the renewal, and gives what is newer than `than`.
    async fn renewed(&self, wanted: u64, than: u64, deadline: Instant) -> Result<Arc<Value>, Unavailable> {
        let mut rounds = self.rounds.subscribe();
        // Looked at before the value is, so that a round that ends in between is not missed.
        let quiet = rounds.borrow_and_update().quiet();
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
            None => Unavailable::Missing(self.rounds.borrow().quiet().unwrap_or(SOON)),
        }
    }
}

impl Rounds {
    /// For how long asking the source again is no use.
    fn quiet(&self) -> Option<Duration> {
        let left = self.quiet_until.map(|until| until.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero())
    }
}

impl Value {
    fn has_expired(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

impl Lease {
    /// What is lent.
    pub fn credential(&self) -> &Credential {
        &self.value.credential
    }
}

async fn admitted(value: Arc<Value>, deadline: Instant) -> Result<Lease, Unavailable> {
    let admitted = match value.standing.try_admit() {
        Some(admitted) => admitted,
        None => match timeout_at(deadline, value.standing.admit()).await {
            Ok(admitted) => admitted,
            Err(_) => return Err(Unavailable::HeldBack(SOON)),
        },
    };
    match admitted {
        Ok(place) => Ok(Lease { value, _place: place.map(Arc::new) }),
        Err(HeldBack(until)) => Err(Unavailable::HeldBack(until.saturating_duration_since(Instant::now()))),
    }
}

/// What is signed so shortly before its key ends may arrive after it, and then counts as a bad signature.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// When to try again where nobody knows better.
const SOON: Duration = Duration::from_secs(1);
