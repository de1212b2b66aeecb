//! `config schema`: the JSON Schema of the configuration and of the policy.

use std::{io::Write, process::ExitCode};

use crate::config::{self, File};

use super::output;

/// Print what the configuration may contain
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the JSON Schema of a file, for editors and pipelines
    Schema {
        /// The file
        #[arg(value_name = "FILE", default_value = "proxy")]
        file: File,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Schema { file } = args.command;
    output::stdout().write_all(config::schema(file).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
