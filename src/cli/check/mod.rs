//! `check`: validates the configuration and summarizes what would run.
//!
//! It reads the same files as `run`, in the same way, and binds nothing. `summary` describes the files, `environment` this
//! machine.

mod command;
mod environment;
mod summary;
mod valid;

pub(super) use command::{Args, run};
pub(super) use valid::{ValidConfig, read};
