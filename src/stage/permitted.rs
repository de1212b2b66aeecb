//! A request that the policy allows.

use std::sync::Arc;

use super::{
    Admitted, Project,
    authorize::Allowed,
    exchange::Exchange,
    pending::{Decided, Pending},
};
use crate::{operation::Access, policy::NeededFacts};

/// A request that the policy allows, by all that it asks for.
pub struct Permitted<'r>(Pending<'r>);

impl<'r> Permitted<'r> {
    /// A call of which nothing is left to be decided; else what it waits for.
    #[expect(clippy::result_large_err, reason = "no error: it is taken apart at once")]
    pub(super) fn of(admitted: Admitted<'r>) -> Result<Self, (Pending<'r>, NeededFacts)> {
        let (pending, needed_facts) = admitted.into_parts();
        match (pending.decided.target.operation().access, needed_facts) {
            (Access::Write, NeededFacts::Nothing) => Ok(Self(pending)),
            (Access::Read | Access::Write, needed_facts) => Err((pending, needed_facts)),
        }
    }

    /// A call that the policy allows by what is known of its job.
    pub(super) fn new(pending: Pending<'r>, _: Allowed) -> Self {
        Self(pending)
    }

    pub(super) fn into_parts(self) -> (Decided, Arc<Project>, Exchange<'r>) {
        let Pending { decided, project, exchange } = self.0;
        (decided, project, exchange)
    }
}
