//! `doctor --contract`: checks that the cloud behaves as this build expects, by creating, viewing and cancelling jobs in a
//! project of the operator's own.
//!
//! It asks for confirmation first. It names each job that it created and could not cancel. A rejected signature ends it.

mod calls;
mod comparison;
mod plan;
mod shapes;

pub(super) use comparison::compare;
pub(super) use plan::{ContractArgs, Plan};
