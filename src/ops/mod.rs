//! Probes, metrics and status. Read-only answers for probes and scrapers, and a socket for operators.
//!
//! It stands outside the stack: no caller, no policy, no audit record. The probes listen on an address of their own,
//! which belongs on loopback or a pod's network.

mod admin;
mod answer;
mod listener;
mod page;

pub use listener::Ops;
