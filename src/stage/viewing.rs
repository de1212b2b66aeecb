//! A view whose answer is yet to be decided.

use super::{
    Compose, Composed, Refusal,
    pending::{Pending, is_looked_up_first},
};
use crate::policy::{Keys, NeededFacts};

/// A view, of which the answer is decided.
pub struct Viewing<'r> {
    pub(super) pending: Pending<'r>,
    /// The facts that its jobs are decided by.
    pub(super) keys: Keys,
    pub(super) is_looked_up_first: bool,
}

impl<'r> Viewing<'r> {
    pub(super) fn new(pending: Pending<'r>, needed_facts: NeededFacts) -> Self {
        let keys = if let NeededFacts::ToDecide(keys) = needed_facts { keys } else { Keys::NONE };
        let is_looked_up_first = is_looked_up_first(&pending.decided.target, &pending.project, needed_facts);
        Self { pending, keys, is_looked_up_first }
    }

    /// What is sent.
    pub(crate) fn composed(&mut self) -> Result<Composed<'_>, Refusal> {
        Compose::view(&mut self.pending)
    }
}
