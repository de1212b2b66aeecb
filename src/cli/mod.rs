//! The command line, with one file per command. Only these files print.

#[cfg(test)]
mod arguments;
mod check;
mod client;
mod commands;
mod config;
mod control;
mod demo;
mod doctor;
mod environment;
mod errors;
mod exit;
mod limiter;
mod log;
mod manual;
mod operate;
mod output;
mod policy;
mod run;
mod sign;
mod signals;
mod start;
mod status;
mod systemd;
mod testserver;

pub use commands::main;
