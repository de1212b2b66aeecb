//! Parses the arguments of a command in tests.

use clap::{Args, Command, Error};

/// Parses arguments, without the name of the command.
pub(super) fn parse<A: Args>(words: &[&str]) -> Result<A, Error> {
    let command = A::augment_args(Command::new("command")).no_binary_name(true);
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}
