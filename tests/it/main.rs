//! The promises of the proxy, tested from outside: the real binary over real sockets, in front of the stand-in
//! cloud or of an upstream that misbehaves on purpose.
//!
//! One module per behaviour. A test checks three things: the answer to the caller, what upstream saw, and the audit
//! record. The harness adds a fourth: when a proxy ends, it has written exactly one record for each request
//! sent to it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, says why on standard error, and takes what it is given"
)]

mod harness;

mod activation;
mod agreement;
mod audit;
mod audit_file;
mod blocked;
mod breaker;
mod budget;
mod broken;
mod check;
mod circumstances;
mod circles;
mod clearance;
mod commands;
mod connections;
mod contributing;
mod crash;
mod creates;
mod credentials;
mod cutoff;
mod disk;
mod doctor;
mod egress;
mod endings;
mod forward;
mod freeze;
mod fuzz;
mod hangup;
mod hostile;
mod identify;
mod layering;
mod leak;
mod limits;
mod log;
mod loopback;
mod manual;
mod monitoring;
mod mtls;
mod operate;
mod operators;
mod ownership;
mod ops;
mod overload;
mod page;
mod permit;
mod phases;
mod pieces;
mod reasons;
mod reference;
mod refuse;
mod reload;
mod restart;
mod retry;
mod runbook;
mod sdk_signature;
mod sandbox;
mod service_account;
mod settle;
mod shutdown;
mod sign;
mod sockets;
mod systemd;
mod words;
