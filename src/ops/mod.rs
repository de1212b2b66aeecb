//! Probes, metrics, the status page, and the operators' socket.
//!
//! These requests do not go through the stack: they have no caller, policy or audit record. The ops listener has an
//! address of its own, which belongs on loopback or a pod's network.

mod admin;
mod answer;
mod listener;
mod page;

pub use listener::Ops;
