//! mpc-auth-proxy: internal services cancel Huawei Cloud MPC editing jobs through it, and hold no cloud keys.
//!
//! The modules stand in the order in which they may import each other: only from above. How they fit
//! together is told in `docs/ARCHITECTURE.md`; the way of a request is `stack`.

pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod identity;
pub mod operation;
pub mod policy;
pub mod secret;
pub mod upstream;
