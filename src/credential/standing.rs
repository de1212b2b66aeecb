//! Does upstream believe this credential's signatures? If it does not, they must stop: five bad ones in a row lock
//! the access key for everybody who shares it.
//!
//! Each value of a credential has a standing of its own, so a new value starts afresh. Until a signature was
//! believed, and after one was not, a value is on probation: so few calls are under way with it that together with
//! those that failed they cannot reach the gateway's five. A value that nobody doubts yet makes calls wait for a
//! moment only, or an upstream that is silent would be met by a queue. It does not look at answers: its caller says
//! what they mean.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The standing of one value of a credential. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Standing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Read by every request: no lock.
    believed: AtomicBool,
    probation: Mutex<Probation>,
    changed: Notify,
}

#[derive(Default)]
struct Probation {
    under_way: u32,
    /// Signatures in a row that were not believed.
    strikes: u32,
    held_until: Option<Instant>,
}

/// A place among the few that a value on probation has, until it is dropped.
pub(super) struct Place(Standing);

/// Signatures are held back until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldBack(pub(super) Instant);

impl Standing {
    /// Returns when a call may be signed: at once, but for a value on probation.
    pub(super) async fn admit(&self) -> Result<Option<Place>, HeldBack> {
        let patience = Instant::now() + PATIENCE;
        loop {
            // Made before the state is looked at, so that no change of it is missed.
            let changed = self.0.changed.notified();
            if let Some(admitted) = self.try_admit() {
                return admitted;
            }
            if self.probation().strikes > 0 {
                changed.await;
            } else if timeout_at(patience, changed).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The same, where it does not take waiting.
    pub(super) fn try_admit(&self) -> Option<Result<Option<Place>, HeldBack>> {
        if self.0.believed.load(Relaxed) {
            return Some(Ok(None));
        }
        let mut probation = self.probation();
        if let Some(until) = probation.held_until {
            if until > Instant::now() {
                return Some(Err(HeldBack(until)));
            }
            // The lock is over. One try: its outcome says whether there may be more.
            probation.held_until = None;
            probation.strikes = MOST_STRIKES - 1;
        }
        if self.0.believed.load(Relaxed) {
            return Some(Ok(None));
        }
        if probation.strikes + probation.under_way >= MOST_STRIKES {
            return None;
        }
        probation.under_way += 1;
        Some(Ok(Some(Place(self.clone()))))
    }

    /// A signature was believed.
    pub(super) fn believed(&self) {
        if !self.0.believed.load(Relaxed) {
            let mut probation = self.probation();
            (probation.strikes, probation.held_until) = (0, None);
            self.0.believed.store(true, Relaxed);
            drop(probation);
            self.0.changed.notify_waiters();
        }
    }

    /// A signature was not believed. Says until when they are held back, where this was the last straw.
    pub(super) fn doubted(&self) -> Option<HeldBack> {
        let mut probation = self.probation();
        self.0.believed.store(false, Relaxed);
        probation.strikes += 1;
        let held = (probation.strikes >= MOST_STRIKES && probation.held_until.is_none())
            .then(|| HeldBack(Instant::now() + LOCKED_FOR));
        if let Some(HeldBack(until)) = held {
            probation.held_until = Some(until);
        }
        drop(probation);
        self.0.changed.notify_waiters();
        held
    }

    /// Until when signatures are held back, if they are.
    pub(super) fn held_back(&self) -> Option<HeldBack> {
        if self.0.believed.load(Relaxed) {
            return None;
        }
        let held = self.probation().held_until.filter(|until| *until > Instant::now());
        held.map(HeldBack)
    }

    fn probation(&self) -> MutexGuard<'_, Probation> {
        self.0.probation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.probation().under_way -= 1;
        self.0.0.changed.notify_waiters();
    }
}

/// After as many it stops: two below the five that lock the key, because others may share it.
const MOST_STRIKES: u32 = 3;
/// A gateway that does not believe a signature says so sooner.
const PATIENCE: Duration = Duration::from_secs(1);
/// As long as the gateway locks a key.
const LOCKED_FOR: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn places(standing: &Standing, count: usize) -> Vec<Option<Place>> {
        (0..count).map(|_| standing.try_admit().unwrap().unwrap()).collect()
    }

    #[tokio::test]
    async fn an_unproven_value_is_tried_by_few_until_one_is_believed() {
        let standing = Standing::default();
        let held = places(&standing, 3);
        assert!(standing.try_admit().is_none());
        let waiting = {
            let standing = standing.clone();
            async move { standing.admit().await.unwrap().is_none() }
        };
        let believed = async { standing.believed() };
        assert!(tokio::join!(waiting, believed).0, "who waited needs no place any more");
        assert_eq!(places(&standing, 100).iter().flatten().count(), 0);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_upstream_is_not_met_by_a_queue_unless_there_is_doubt() {
        let standing = Standing::default();
        let _silent = places(&standing, 3);
        let waited = Instant::now();
        assert!(standing.admit().await.unwrap().is_none());
        assert_eq!(waited.elapsed(), PATIENCE);
        standing.doubted();
        assert!(timeout(PATIENCE * 100, standing.admit()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn three_strikes_in_a_row_hold_it_back_for_the_time_of_the_lock() {
        let standing = Standing::default();
        standing.believed();
        assert_eq!([standing.doubted(), standing.doubted()], [None, None]);
        standing.believed();
        assert_eq!([standing.doubted(), standing.doubted()], [None, None], "not in a row");
        let HeldBack(until) = standing.doubted().unwrap();
        assert_eq!(standing.held_back(), Some(HeldBack(until)));
        assert_eq!(standing.doubted(), None, "said once");
        assert!(matches!(standing.try_admit(), Some(Err(HeldBack(end))) if end == until));
        advance(LOCKED_FOR).await;
        assert_eq!(standing.held_back(), None);
        let one = places(&standing, 1);
        assert!(standing.try_admit().is_none(), "one try");
        assert!(standing.doubted().is_some());
        drop(one);
        advance(LOCKED_FOR).await;
        drop(places(&standing, 1));
        standing.believed();
        assert_eq!(places(&standing, 10).len(), 10);
    }

    /// However many calls there are: no more reach upstream unbelieved than may.
    #[tokio::test]
    async fn no_crowd_gets_past_the_strikes() {
        let standing = Standing::default();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let standing = standing.clone();
            calls.spawn(async move {
                let Ok(place) = standing.admit().await else { return 0 };
                tokio::task::yield_now().await;
                standing.doubted();
                drop(place);
                1
            });
        }
        assert_eq!(calls.join_all().await.into_iter().sum::<u32>(), MOST_STRIKES);
    }
}
