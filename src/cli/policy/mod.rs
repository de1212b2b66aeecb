//! `policy`: explains, tests, replays and suggests policies.
//!
//! One file a question.

#[cfg(test)]
mod document;
#[cfg(test)]
mod enforced;
mod explain;
mod junit;
mod records;
mod replay;
mod suggest;
mod test;

use super::output;
use std::io::Write;
use std::process::ExitCode;

/// Ask the policy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what is decided for a call, by which rule, and which rule comes closest where nothing allows it
    Explain(explain::Explain),
    /// Run the cases of a file against the policy that it names
    Test(test::Test),
    /// Ask a policy about the calls in audit files, and say which it would decide otherwise
    Replay(replay::Replay),
    /// Write the least policy that allows what was allowed in audit files
    Suggest(suggest::Suggest),
}

/// Runs the command: the answer to standard output, problems of the files it reads to standard error.
///
/// # Errors
/// Where a call names what is not there, a file cannot be read, or the answer cannot be written; a file that is
/// not valid is an exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    answer_to(&args.command, &mut output::stdout(), &mut output::stderr())
}

fn answer_to(command: &Command, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
    match command {
        Command::Explain(explain) => explain.run(out, err),
        Command::Test(test) => test.run(out, err),
        Command::Replay(replay) => replay.run(out, err),
        Command::Suggest(suggest) => suggest.run(out, err),
    }
}
