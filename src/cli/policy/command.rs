//! The questions that a policy is asked, by their names.

use std::{io::Write, process::ExitCode};

use super::{explain::Explain, replay::Replay, suggest::Suggest, test::Test};
use crate::cli::output;

/// Ask the policy
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Say what is decided for a call, by which rule, and which rule comes closest where nothing allows it
    Explain(Explain),
    /// Run the cases of a file against the policy that it names
    Test(Test),
    /// Ask a policy about the calls in audit files, and say which it would decide otherwise
    Replay(Replay),
    /// Write the least policy that allows what was allowed in audit files
    Suggest(Suggest),
}

/// Runs the command: the answer to standard output, problems of the files it reads to standard error.
///
/// # Errors
/// Where a call names what is not there, a file cannot be read, or the answer cannot be written; a file that is
/// not valid is an exit code.
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
