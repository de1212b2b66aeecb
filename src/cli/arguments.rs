//! Arguments of a command, read as its command line would read them.

use clap::{Args, Command, Error};

/// What these words ask of a command, whose name is not among them.
pub(super) fn parse<A: Args>(words: &[&str]) -> Result<A, Error> {
    let command = A::augment_args(Command::new("command")).no_binary_name(true);
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}
