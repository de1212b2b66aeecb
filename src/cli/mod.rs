//! What can be asked for on the command line? One file a command; the only files that print.

pub mod policy;
