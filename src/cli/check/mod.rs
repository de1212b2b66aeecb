//! `check`: validates the configuration and summarizes what would run.
//!
//! It reads what `run` reads, in the same way, and binds nothing. What the files say is in `summary`, what this machine
//! makes of it in `environment`.

mod command;
mod environment;
mod summary;
mod valid;

pub(super) use command::{Args, run};
pub(super) use valid::{ValidConfig, read};
