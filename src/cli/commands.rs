//! The command line: the commands and their entry point.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::{
    check, config, control, demo, doctor, environment, errors, manual, operate, output, policy, run, sign,
    status, testserver,
};

/// Lets internal services create, view and cancel Huawei Cloud MPC editing jobs without holding the company's cloud keys.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::Args),
    /// Show a complete setup at work on this machine, without an account
    Demo(demo::Args),
    /// Run only the stand-in for Huawei's cloud, for tests
    Testserver(testserver::Args),
    /// Validate the configuration and everything it names, and report every problem
    Check(check::Args),
    /// Test everything the proxy depends on, with a remedy for each problem
    Doctor(doctor::Args),
    /// Print what the configuration may contain
    Config(config::Args),
    /// Explain, test, replay and suggest policies
    Policy(policy::Args),
    /// Sign a request with SDK-HMAC-SHA256
    Sign(sign::Args),
    /// Wait until a running proxy is ready
    Wait(control::WaitArgs),
    /// Refuse calls, of all callers or some, until `unfreeze`
    Freeze(operate::FreezeArgs),
    /// Lift a freeze
    Unfreeze(operate::Scope),
    /// Make a running proxy reload its configuration, and show the result
    Reload(control::ProxyTarget),
    /// Show the state of a running proxy
    Status(status::Args),
    /// Stop a running proxy gracefully
    Shutdown(control::ProxyTarget),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// The folder for the pages of all commands
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let mut command = environment::without_empty(manual::with_help(Cli::command()));
    // Before this, options do not know their names.
    command.build();
    let parsed = command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.unwrap_or_else(|error| environment::with_variable(error, &command).exit());
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Testserver(args) => testserver::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Wait(args) => control::wait(&args),
        Command::Freeze(args) => operate::freeze(&args),
        Command::Unfreeze(scope) => operate::unfreeze(&scope),
        Command::Reload(target) => operate::reload(&target),
        Command::Status(args) => status::run(&args),
        Command::Shutdown(target) => control::shutdown(&target),
        Command::Completions { shell } => completions(shell),
        Command::Man { out } => man(out.as_deref()),
    };
    result.unwrap_or_else(|error| {
        errors::print_error(&error);
        ExitCode::FAILURE
    })
}

fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Into memory first, because `generate` panics on a write error.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    output::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn man(folder: Option<&Path>) -> anyhow::Result<ExitCode> {
    match folder {
        None => manual::page(Cli::command(), &mut output::stdout())?,
        Some(folder) => manual::pages(Cli::command(), folder)
            .with_context(|| format!("cannot write the pages into {}", folder.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}
