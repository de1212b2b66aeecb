//! A request that the policy allows.

use std::sync::Arc;

use super::{
    Admitted, Project,
    authorize::Allowed,
    exchange::Exchange,
    pending::{Decided, Pending},
};
use crate::{operation::Access, policy::NeededFacts};

/// A request that the policy allows, with every fact that it needs.
pub struct Permitted<'r>(Pending<'r>);

impl<'r> Permitted<'r> {
    /// Returns a call that is fully decided, or the facts that it waits for.
    #[expect(clippy::result_large_err, reason = "not an error: the caller destructures it at once")]
    pub(super) fn of(admitted: Admitted<'r>) -> Result<Self, (Pending<'r>, NeededFacts)> {
        let (pending, needed_facts) = admitted.into_parts();
        match (pending.decided.target.operation().access, needed_facts) {
            (Access::Write, NeededFacts::Nothing) => Ok(Self(pending)),
            (Access::Read | Access::Write, needed_facts) => Err((pending, needed_facts)),
        }
    }

    /// Creates a permitted call from the policy's final decision.
    pub(super) fn new(pending: Pending<'r>, _: Allowed) -> Self {
        Self(pending)
    }

    pub(super) fn into_parts(self) -> (Decided, Arc<Project>, Exchange<'r>) {
        let Pending { decided, project, exchange } = self.0;
        (decided, project, exchange)
    }
}
