//! The byte budget of all connections: memory for unfinished requests and for answers that were not read yet.
//!
//! Calls wait in order for a limited time, and take precedence over connections without a request, which get only memory
//! that nobody waits for. If there is too little, the server is told ([`ByteBudget::wanted`]) and decides which connections
//! to close.

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

/// A reservation of bytes, returned on drop.
#[derive(Debug)]
pub struct ByteReservation(OwnedSemaphorePermit);

impl ByteBudget {
    /// Creates a budget of this size.
    pub fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))), wanted: Arc::default() }
    }

    /// Reserves bytes, if there are enough that nobody waits for.
    pub fn try_take(&self, bytes: usize) -> Option<ByteReservation> {
        let taken = Arc::clone(&self.bytes).try_acquire_many_owned(permits(bytes));
        if taken.is_err() {
            self.wanted.notify_one();
        }
        taken.ok().map(ByteReservation)
    }

    /// Reserves bytes, waiting up to `patience`.
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

    /// Returns when a reservation failed or has to wait.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl ByteReservation {
    /// Returns its size.
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Adds another reservation of the same budget.
    pub fn add(&mut self, more: Self) {
        self.0.merge(more.0);
    }

    /// Splits off this number of bytes, or all if there are fewer.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        self.0.split(bytes.min(self.bytes())).map(Self)
    }

    /// Resizes it. Returns `false` if there are not enough bytes that nobody waits for.
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

    /// Attaches the reservation to a body, until that is dropped.
    pub fn around(mut self, body: Bytes) -> Bytes {
        if body.is_empty() {
            return body;
        }
        self.shrink(body.len());
        Bytes::from_owner(Budgeted { body, _room: self })
    }

    /// Releases all but this number of bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(excess));
    }
}

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
