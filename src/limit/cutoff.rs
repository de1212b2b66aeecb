//! The end of the drain, for all calls that still wait.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

/// Whether the drain time-out is over. Clones share it.
#[derive(Clone, Default)]
pub struct Cutoff(Arc<AtomicBool>);

impl Cutoff {
    /// Ends the drain: from now on nothing is sent.
    pub fn end(&self) {
        self.0.store(true, Release);
    }

    /// Whether the drain has ended.
    pub fn is_over(&self) -> bool {
        self.0.load(Acquire)
    }
}
