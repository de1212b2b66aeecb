//! The commands: the only files that print or exit.

pub mod check;
