//! The subcommands of `policy`.

use std::{io::Write, process::ExitCode};

use super::{explain::Explain, replay::Replay, suggest::Suggest, test::Test};
use crate::cli::output;

/// Explain, test, replay and suggest policies
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Explain the decision on a call: its rule, or the closest one if no rule allows it
    Explain(Explain),
    /// Run test cases against a policy
    Test(Test),
    /// Show which recorded calls a policy would decide differently
    Replay(Replay),
    /// Print the least permissive policy that allows the recorded calls
    Suggest(Suggest),
}

/// Runs the command: the answer to standard output, problems of files to standard error.
///
/// # Errors
/// If a name is unknown, a file cannot be read, or the answer cannot be written. An invalid file is an exit code.
pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    answer_to(&args.command, &mut output::stdout(), &mut output::stderr())
}

pub(super) fn answer_to(
    command: &Command,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Explain(explain) => explain.run(out, err),
        Command::Test(test) => test.run(out, err),
        Command::Replay(replay) => replay.run(out, err),
        Command::Suggest(suggest) => suggest.run(out, err),
    }
}
