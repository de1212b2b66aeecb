//! `config schema`: the JSON Schema of the configuration and of the policy.

use std::{io::Write, process::ExitCode};

use crate::config::{self, File};

use super::output;

/// Describe the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the JSON Schema of a file, for editors and pipelines
    ///
    /// An editor that speaks to yaml-language-server (VS Code, Neovim, Helix, IntelliJ) completes and checks a file whose
    /// first line names its schema; `check` knows more than any schema can say.
    ///
    /// Examples:
    ///   mpc-auth-proxy config schema > proxy.schema.json
    ///   mpc-auth-proxy config schema policy > policy.schema.json
    ///   sed -i '1i # yaml-language-server: $schema=proxy.schema.json' proxy.yaml
    #[command(verbatim_doc_comment)]
    Schema {
        /// Which file
        #[arg(value_name = "FILE", default_value = "proxy")]
        file: File,
    },
}

/// Runs the command.
///
/// # Errors
/// Where the answer cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Schema { file } = args.command;
    output::stdout().write_all(config::schema(file).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
