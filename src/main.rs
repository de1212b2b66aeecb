//! The commands: see `mpc-auth-proxy help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mpc_auth_proxy::cli::main()
}
