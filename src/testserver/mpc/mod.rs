//! MPC's editing jobs, in both versions of the API.

mod call;
mod create;
mod job;
mod list;
mod service;

pub(super) use call::Call;
pub use job::JobState;
pub(super) use service::{Jobs, error};
