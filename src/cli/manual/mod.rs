//! The manual of each command, for `--help` and for manual pages: purpose, files, exit codes and examples.
//!
//! `-h` stays a summary. Tests of the binary run every example.

mod configuration;
mod entry;
mod operators;
mod pages;
mod policy;
mod proxy;
mod trying;

pub(super) use pages::{page, pages, with_help};
