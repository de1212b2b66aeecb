//! mpc-auth-proxy: internal services cancel Huawei Cloud MPC editing jobs through it, and hold no cloud keys.
//!
//! The modules stand in the order in which they may import each other: only from above. How they fit
//! together is told in `docs/ARCHITECTURE.md`; the request path is `stack`.

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
