//! `policy suggest`: derives the least permissive policy that allows the recorded calls.
//!
//! The result is a complete `policy.yaml`, to be reviewed before use. What records do not contain, such as the digest of a
//! token, has to be filled in.

mod calls;
mod command;
mod suggestion;
mod yaml;

pub(super) use command::Suggest;

#[cfg(test)]
mod tests;
