//! A view whose answer must be filtered.

use super::{
    Compose, Composed, Refusal,
    pending::{Pending, is_looked_up_first},
};
use crate::policy::{Keys, NeededFacts};

/// A view whose answer must be filtered.
pub struct Viewing<'r> {
    pub(super) pending: Pending<'r>,
    /// The facts that the decision needs.
    pub(super) keys: Keys,
    pub(super) is_looked_up_first: bool,
}

impl<'r> Viewing<'r> {
    pub(super) fn new(pending: Pending<'r>, needed_facts: NeededFacts) -> Self {
        let keys = if let NeededFacts::ToDecide(keys) = needed_facts { keys } else { Keys::NONE };
        let is_looked_up_first = is_looked_up_first(&pending.decided.target, &pending.project, needed_facts);
        Self { pending, keys, is_looked_up_first }
    }

    /// Composes the request to send.
    pub(crate) fn composed(&mut self) -> Result<Composed<'_>, Refusal> {
        Compose::view(&mut self.pending)
    }
}
