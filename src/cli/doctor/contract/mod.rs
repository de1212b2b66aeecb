//! `doctor --contract`: checks that the cloud behaves as this build expects. With `--contract` jobs are created, viewed
//! and cancelled on a project of the operator's own, and whatever comes otherwise is told.
//!
//! It changes something, so it asks first. Each job that it created and could not cancel is named. A refused signature ends it.

mod calls;
mod comparison;
mod plan;
mod shapes;

pub(super) use comparison::compare;
pub(super) use plan::{ContractArgs, Plan};
