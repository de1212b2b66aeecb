//! The manual page of each command. What it does, its files, its exit codes and its examples, composed in one way for
//! `--help` and for manual pages.
//!
//! `-h` stays a summary. The texts are beside this file, a file for each kind of command; tests of the binary run every
//! example.

mod configuration;
mod entry;
mod operators;
mod pages;
mod policy;
mod proxy;
mod trying;

pub(super) use pages::{page, pages, with_help};
