//! What can be asked for on the command line? One file a command; the only files that print and exit.

pub mod sign;
pub mod testserver;
