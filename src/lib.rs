//! mpc-auth-proxy lets internal services create, view and cancel Huawei Cloud MPC editing jobs without holding a cloud key.
//!
//! The modules are in the order in which they may import each other: only from above. `docs/ARCHITECTURE.md` explains how
//! they fit together; `stack` is the request path.

pub mod clock;
pub mod reason;
pub mod log;
pub mod secret;
pub mod chain;
pub mod object;
pub mod escape;
pub mod pem;
pub mod watch;
pub mod operation;
pub mod signing;
pub mod identity;
pub mod policy;
pub mod editing;
pub mod upstream;
pub mod credential;
pub mod limit;
pub mod audit;
pub mod metrics;
pub mod config;
pub mod sandbox;
pub mod stage;
pub mod stack;
pub mod reload;
pub mod server;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod ops;
pub mod testserver;
pub mod cli;
