//! The commands: see `mpc-auth-proxy help`.

fn main() {}
