//! Room for bytes that are no request yet, or an answer that nobody has taken yet: one budget for all connections.
//!
//! Calls wait for room for a while, in the order in which they came, and go before whoever only connected: that one is
//! given room that nobody waits for, or none. Whose bytes go when there is none left is the server's to decide: it is
//! told ([`ByteBudget::wanted`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// A budget of bytes.
#[derive(Clone)]
pub struct ByteBudget {
    bytes: Arc<Semaphore>,
    wanted: Arc<Notify>,
}

/// Bytes of the budget, given back when this is dropped.
#[derive(Debug)]
pub struct ByteReservation(OwnedSemaphorePermit);

impl ByteBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))), wanted: Arc::default() }
    }

    /// Room for so many bytes, where there is some that nobody waits for.
    pub fn try_take(&self, bytes: usize) -> Option<ByteReservation> {
        let taken = Arc::clone(&self.bytes).try_acquire_many_owned(permits(bytes));
        if taken.is_err() {
            self.wanted.notify_one();
        }
        taken.ok().map(ByteReservation)
    }

    /// Room for so many bytes, which is waited for at most this long.
    pub async fn take(&self, bytes: usize, patience: Duration) -> Option<ByteReservation> {
        if let Some(taken) = self.try_take(bytes) {
            return Some(taken);
        }
        let nag = async {
            loop {
                self.wanted.notify_one();
                sleep(NOTIFY_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            taken = timeout(patience, Arc::clone(&self.bytes).acquire_many_owned(permits(bytes))) => {
                taken.ok()?.ok().map(ByteReservation)
            }
            () = nag => None,
        }
    }

    /// Returns when somebody found too little room.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl ByteReservation {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// More of the same budget.
    pub fn add(&mut self, more: Self) {
        self.0.merge(more.0);
    }

    /// Takes so many of them apart, or all where there are fewer.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        self.0.split(bytes.min(self.bytes())).map(Self)
    }

    /// Makes it room for so many bytes. `false`: there is none that nobody waits for.
    #[must_use]
    pub fn fit(&mut self, bytes: usize) -> bool {
        self.shrink(bytes);
        let Some(short) = bytes.checked_sub(self.bytes()).filter(|short| *short > 0) else { return true };
        match Arc::clone(self.0.semaphore()).try_acquire_many_owned(permits(short)) {
            Ok(more) => {
                self.0.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// The same body, which takes up this room until it is dropped.
    pub fn around(mut self, body: Bytes) -> Bytes {
        if body.is_empty() {
            return body;
        }
        self.shrink(body.len());
        Bytes::from_owner(Budgeted { body, _room: self })
    }

    /// Gives back all but so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(excess));
    }
}

/// Bytes, and the room that they take up.
struct Budgeted {
    body: Bytes,
    _room: ByteReservation,
}

impl AsRef<[u8]> for Budgeted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const NOTIFY_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_before_who_does_not_and_each_byte_comes_back() {
        let room = ByteBudget::new(100);
        let (mut first, second) = (room.try_take(60).unwrap(), room.try_take(40).unwrap());
        assert!(room.try_take(1).is_none());
        assert!(room.take(50, NOTIFY_INTERVAL).await.is_none(), "nothing is given back");
        let waiting = room.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { waiting.take(50, Duration::from_secs(9)).await });
        tokio::task::yield_now().await;
        first.shrink(40);
        assert!(room.try_take(20).is_none(), "somebody waits for it");
        first.shrink(10);
        let third = tasks.join_next().await.unwrap().unwrap().unwrap();
        drop((first, second, third));
        assert!(room.try_take(101).is_none());
        assert!(room.try_take(100).is_some());
    }

    #[test]
    fn what_is_taken_apart_and_what_grows_is_given_back_once() {
        let room = ByteBudget::new(100);
        let mut taken = room.try_take(60).unwrap();
        let mut part = taken.split(20).unwrap();
        assert_eq!((taken.bytes(), part.bytes()), (40, 20));
        assert!(part.fit(60) && !part.fit(61) && part.bytes() == 60);
        assert!(part.fit(10) && room.try_take(50).is_some());
        assert_eq!(taken.split(99).unwrap().bytes(), 40);
        drop((taken, part));
        assert!(room.try_take(100).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_too_little_is_told() {
        let room = ByteBudget::new(1);
        let taken = room.try_take(1);
        assert!(room.try_take(1).is_none());
        room.wanted().await;
        drop(taken);
        assert!(timeout(Duration::from_secs(1), room.wanted()).await.is_err(), "once");
    }
}
