//! `sign`: computes the headers that Huawei Cloud requires of a request.
//!
//! It makes the proxy's signing available in a shell, for a call by hand or to compare with a client that is refused. It
//! sends nothing, and never prints the secret key.

mod args;
mod command;

pub(super) use args::Args;
pub(super) use command::run;
