//! `doctor`: checks whether the proxy would work in this environment.
//!
//! `check` only reads; this command also asks every source for a credential and every endpoint for an answer. It binds
//! nothing, changes nothing, and makes no call: MPC gets one request without a credential. Only `--try-credentials`, which
//! views, and `--contract`, which creates and cancels, make calls. It should run where the proxy runs, as the proxy's user.

mod certificate;
mod command;
mod contract;
mod credentials;
mod endpoints;
mod examination;
mod files;
mod finding;
mod hints;
mod projects;
mod startup;
mod trial;

pub(super) use command::{Args, run};
