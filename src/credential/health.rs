//! The health of an access key: whether upstream accepts its signatures, and how many may be unanswered.
//!
//! Five bad signatures in a row lock an access key for everybody who shares it. So there is one account per access key, for
//! all credentials, endpoints and threads that use it. At most as many signatures are unanswered as were accepted lately, or
//! three: when a key goes bad, a burst of calls cannot outrun the first answer. Answers are judged elsewhere: see
//! [`Verdict`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Verdict,
    ledger::{DualInstant, Entry, Ledger},
};
use crate::signing::SigningKey;

#[derive(Clone, Default)]
pub(super) struct KeyHealthRegistry(Arc<Mutex<KnownKeys>>);

#[derive(Default)]
struct KnownKeys {
    in_use: HashMap<Box<str>, Weak<KeyHealth>>,
    /// The ledgers of rejected keys that are out of use, because they may be put back.
    refused: HashMap<(Box<str>, [u8; 32]), Ledger>,
}

/// The health of one access key, shared by everything that signs with it.
pub(super) struct KeyHealth {
    account: Mutex<Account>,
    known: Weak<Mutex<KnownKeys>>,
}

struct Account {
    key: SigningKey,
    ledger: Ledger,
    /// The queue of waiting calls.
    waiting: VecDeque<oneshot::Sender<Admission>>,
}

/// A permit for one unanswered signature, returned on drop.
pub(super) struct Permit {
    health: Arc<KeyHealth>,
    entry: Entry,
    returned: bool,
}

pub(super) type Admission = Result<Permit, PermitDenied>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitDenied {
    /// The key is suspended until then.
    HeldBack(Instant),
    /// The wait for other calls took too long.
    Crowded,
    /// The key was replaced meanwhile: ask again.
    Replaced,
}

impl KeyHealthRegistry {
    /// Returns the health of this key. A new secret starts afresh.
    pub(super) fn of(&self, key: &SigningKey) -> Arc<KeyHealth> {
        let mut known = self.0.lock();
        if let Some(health) = known.in_use.get(key.access_key()).and_then(Weak::upgrade) {
            health.renew(key, &mut known);
            return health;
        }
        // Temporary keys come and go.
        known.in_use.retain(|_, health| health.strong_count() > 0);
        let ledger = known.refused.remove(&name(key)).unwrap_or_default();
        let account = Account { key: key.clone(), ledger, waiting: VecDeque::new() };
        let health = KeyHealth { account: Mutex::new(account), known: Arc::downgrade(&self.0) };
        let health = Arc::new(health);
        known.in_use.insert(key.access_key().into(), Arc::downgrade(&health));
        health
    }
}

impl KnownKeys {
    /// Remembers the refusals of a key that goes out of use.
    fn carry_over(&mut self, account: &Account) {
        let now = Instant::now();
        self.refused.retain(|_, ledger| ledger.is_refused(now));
        if account.ledger.is_refused(now) {
            self.refused.insert(name(&account.key), account.ledger.carried_over());
        }
    }
}

impl KeyHealth {
    /// Waits its turn for a permit, until `deadline`.
    pub(super) async fn admit(self: &Arc<Self>, deadline: Instant) -> Admission {
        let turn = {
            let mut account = self.account.lock();
            if let Some(admission) = self.enter(&mut account, DualInstant::now()) {
                return admission;
            }
            let (sender, turn) = oneshot::channel();
            account.waiting.push_back(sender);
            turn
        };
        // A call admitted with no time left would be sent and cut off, with an unknown outcome.
        let deadline = deadline.checked_sub(MIN_ATTEMPT_TIME).unwrap_or(deadline);
        match timeout_at(deadline, turn).await {
            Ok(admission) => admission.unwrap_or(Err(PermitDenied::Replaced)),
            Err(_) => Err(PermitDenied::Crowded),
        }
    }

    /// Returns until when the key is suspended, if it is.
    pub(super) fn held_back(&self) -> Option<Instant> {
        self.account.lock().ledger.held_back(Instant::now())
    }

    /// Dismisses everybody who waits, because the key is no longer in force.
    pub(super) fn replaced(&self) {
        self.account.lock().waiting.clear();
    }

    fn renew(&self, key: &SigningKey, known: &mut KnownKeys) {
        let mut account = self.account.lock();
        if account.key != *key {
            known.carry_over(&account);
            let before = known.refused.remove(&name(key)).unwrap_or_default();
            account.ledger = before.after(&account.ledger);
            account.key = key.clone();
            account.waiting.clear();
        }
    }

    /// Grants a permit, if nobody waits and one is free.
    fn enter(self: &Arc<Self>, account: &mut Account, now: DualInstant) -> Option<Admission> {
        if let Some(until) = account.ledger.held_back(now.at) {
            return Some(Err(PermitDenied::HeldBack(until)));
        }
        if account.waiting.is_empty() { self.issue(account, now).map(Ok) } else { None }
    }

    fn issue(self: &Arc<Self>, account: &mut Account, now: DualInstant) -> Option<Permit> {
        let entry = account.ledger.admit(now)?;
        Some(Permit { health: Arc::clone(self), entry, returned: false })
    }

    /// Grants permits to the queue as far as possible, or dismisses it.
    fn admit_waiting(self: &Arc<Self>, account: &mut Account, now: DualInstant) {
        let held_back = account.ledger.held_back(now.at);
        while let Some(waiting) = account.waiting.front() {
            let admission = match held_back {
                _ if waiting.is_closed() => None,
                Some(until) => Some(Err(PermitDenied::HeldBack(until))),
                None => match self.issue(account, now) {
                    Some(permit) => Some(Ok(permit)),
                    None => return,
                },
            };
            let Some((waiting, admission)) = account.waiting.pop_front().zip(admission) else { continue };
            if let Err(Ok(mut permit)) = waiting.send(admission) {
                // The caller has just gone. The account is locked here already, so the permit must not return itself.
                permit.returned = true;
                account.ledger.conclude(permit.entry, None, now);
            }
        }
    }
}

impl Drop for KeyHealth {
    fn drop(&mut self) {
        let account = self.account.get_mut();
        if let Some(known) = self.known.upgrade() {
            known.lock().carry_over(account);
        }
    }
}

impl Permit {
    /// Returns the permit with the verdict of its answer. If that suspends the key, returns for how long.
    pub(super) fn answered(mut self, verdict: Verdict) -> Option<Duration> {
        self.give_back(Some(verdict))
    }

    fn give_back(&mut self, verdict: Option<Verdict>) -> Option<Duration> {
        if std::mem::replace(&mut self.returned, true) {
            return None;
        }
        let now = DualInstant::now();
        let mut account = self.health.account.lock();
        if !account.ledger.has(self.entry) {
            return None;
        }
        let held = account.ledger.conclude(self.entry, verdict, now);
        if !account.waiting.is_empty() {
            self.health.admit_waiting(&mut account, now);
        }
        held
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

/// Returns what identifies a key.
fn name(key: &SigningKey) -> (Box<str>, [u8; 32]) {
    (key.access_key().into(), key.fingerprint())
}

/// The time that must be left for an attempt.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering::SeqCst},
        thread,
    };

    use tokio::task::JoinSet;

    use super::*;
    use crate::secret::Secret;

    fn key(secret: &str) -> SigningKey {
        SigningKey::new("AKEXAMPLE00000000001", &Secret::new(secret), None).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    async fn permit(health: &Arc<KeyHealth>) -> Permit {
        health.admit(soon()).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[tokio::test]
    async fn one_access_key_has_one_account_whatever_asks() {
        let keys = KeyHealthRegistry::default();
        let (one, other) = (keys.of(&key("s")), keys.of(&key("s")));
        assert!(Arc::ptr_eq(&one, &other));
        for _ in 0..2 {
            permit(&one).await.answered(Verdict::Refused);
        }
        assert!(permit(&other).await.answered(Verdict::Refused).is_some());
        assert!(one.held_back().is_some());
        // Another secret is another key: calls in flight say nothing about it.
        let renewed = keys.of(&key("t"));
        assert!(Arc::ptr_eq(&one, &renewed) && one.held_back().is_none());
    }

    /// After a rotation is rolled back, the refusals of the former key still count.
    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_refused_is_remembered_when_it_is_put_back() {
        let other = SigningKey::new("AKEXAMPLE00000000002", &Secret::new("s"), None).unwrap();
        let admitted = async |health: &Arc<KeyHealth>| health.admit(Instant::now()).await;
        for next in [&other, &key("t")] {
            let keys = KeyHealthRegistry::default();
            for left in [2, 1] {
                let health = keys.of(&key("s"));
                let permit = admitted(&health).await.unwrap_or_else(|error| panic!("{left} left: {error:?}"));
                permit.answered(Verdict::Refused);
                drop(health);
                let health = keys.of(next);
                assert!(
                    admitted(&health).await.is_ok_and(|permit| permit.answered(Verdict::Accepted).is_none())
                );
            }
            let under_way = keys.of(&key("s"));
            let last = admitted(&under_way).await.unwrap_or_else(|_| panic!("one is left"));
            keys.of(next);
            last.answered(Verdict::Refused);
            drop(under_way);
            let health = keys.of(&key("s"));
            assert!(matches!(admitted(&health).await, Err(PermitDenied::HeldBack(_))));
            drop(health);
            tokio::time::advance(Duration::from_secs(301)).await;
            assert!(admitted(&keys.of(&key("s"))).await.is_ok(), "the lock is over");
        }
    }

    #[tokio::test]
    async fn what_is_under_way_when_the_key_is_replaced_says_nothing_of_the_next() {
        let keys = KeyHealthRegistry::default();
        let health = keys.of(&key("s"));
        let former = [permit(&health).await, permit(&health).await, permit(&health).await];
        let waiting = async { health.admit(soon()).await.err() };
        let (waited, _) = tokio::join!(waiting, async { keys.of(&key("t")) });
        assert_eq!(waited, Some(PermitDenied::Replaced));
        let next = health.admit(soon()).await;
        assert!(former.into_iter().all(|permit| permit.answered(Verdict::Refused).is_none()));
        assert!(next.is_ok() && health.held_back().is_none());
    }

    /// However many calls there are, no more unaccepted signatures reach upstream than allowed.
    #[tokio::test]
    async fn no_crowd_gets_past_the_refusals() {
        let health = KeyHealthRegistry::default().of(&key("s"));
        let mut calls = JoinSet::new();
        for _ in 0..1000 {
            let health = Arc::clone(&health);
            calls.spawn(async move {
                let Ok(permit) = health.admit(soon()).await else { return 0 };
                tokio::task::yield_now().await;
                permit.answered(Verdict::Refused);
                1
            });
        }
        assert_eq!(calls.join_all().await.into_iter().sum::<u32>(), 3);
    }

    /// With racing threads and calls that give up at any point: never too many permits, and none is lost.
    #[test]
    fn permits_are_neither_lost_nor_made() {
        let health = KeyHealthRegistry::default().of(&key("s"));
        let (under_way, most) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (health, under_way, most) = (&health, &under_way, &most);
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async {
                        for round in 0..500 {
                            let patience =
                                MIN_ATTEMPT_TIME + Duration::from_micros((round * 7 + thread) % 50);
                            let Ok(permit) = health.admit(Instant::now() + patience).await else { continue };
                            most.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
                            tokio::task::yield_now().await;
                            under_way.fetch_sub(1, SeqCst);
                            if round % 3 > 0 {
                                drop(permit)
                            } else {
                                assert_eq!(permit.answered(Verdict::Nothing), None)
                            }
                        }
                    });
                });
            }
        });
        assert!(most.into_inner() <= 3);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let left: Vec<_> = (0..3).map(|_| runtime.block_on(health.admit(soon()))).collect();
        assert!(left.iter().all(Result::is_ok), "all three are there");
        let account = health.account.lock();
        assert!(account.waiting.iter().all(oneshot::Sender::is_closed));
    }
}
