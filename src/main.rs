//! The program. `mpc-auth-proxy help` lists its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    mpc_auth_proxy::cli::main()
}
