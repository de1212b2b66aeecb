//! The end of the drain. One word for all that still wait in a process that stops.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

/// Whether the time that a stopping process has to finish is over. Clones share it.
#[derive(Clone, Default)]
pub struct Cutoff(Arc<AtomicBool>);

impl Cutoff {
    /// From now on nothing is sent any more.
    pub fn end(&self) {
        self.0.store(true, Release);
    }

    /// Whether nothing may be sent any more.
    pub fn is_over(&self) -> bool {
        self.0.load(Acquire)
    }
}
