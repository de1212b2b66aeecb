//! `policy suggest`: derives the least permissive policy that allows the recorded calls.
//!
//! The result is a whole `policy.yaml` to read before it is used. What cannot be known from records, such as the
//! digest of a token, is left to fill in.

mod calls;
mod command;
mod suggestion;
mod yaml;

pub(super) use command::Suggest;

#[cfg(test)]
mod tests;
