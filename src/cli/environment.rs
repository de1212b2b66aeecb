//! Options from environment variables: an empty one counts as unset, and errors name the variable.

use std::{env, ffi::OsStr};

use clap::{
    Arg, Command, Error,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};

/// Returns the command without empty variables: shells and manifests unset them with `NAME=`.
pub(super) fn without_empty(command: Command) -> Command {
    let settle = |arg: Arg| {
        let empty = arg.get_env().and_then(env::var_os).is_some_and(|value| is_blank(&value));
        if empty { arg.env(Resettable::Reset) } else { arg }
    };
    command.mut_args(settle).mut_subcommands(without_empty)
}

/// Names the variable in an error if the value does not come from the command line.
pub(super) fn with_variable(mut error: Error, command: &Command) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(wanted), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return error;
    };
    if let Some(name) = variable(command, &wanted, &value) {
        let place = format!("{wanted}, from the environment variable {name}");
        error.insert(ContextKind::InvalidArg, ContextValue::String(place));
    }
    error
}

/// Parses `1`, `true`, `yes` and `on`, or `0`, `false`, `no` and `off`, case-insensitive.
pub(super) fn switch(text: &str) -> Result<bool, &'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write 1, true, yes or on, or 0, false, no or off"),
    }
}

/// Returns the variable that set an option to this value.
fn variable(command: &Command, wanted: &str, value: &str) -> Option<String> {
    let gave = |arg: &&Arg| {
        let set = arg.get_env().and_then(env::var_os);
        arg.to_string() == wanted && set.is_some_and(|set| set.to_string_lossy() == value)
    };
    let found = command.get_arguments().find(gave).and_then(Arg::get_env);
    let found = found.map(|name| name.to_string_lossy().into_owned());
    found.or_else(|| command.get_subcommands().find_map(|command| variable(command, wanted, value)))
}

fn is_blank(value: &OsStr) -> bool {
    value.to_string_lossy().trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_one_of_the_usual_words() {
        for (text, expected) in
            [("1", Some(true)), ("TRUE", Some(true)), ("yes", Some(true)), (" On\n", Some(true))]
        {
            assert_eq!(switch(text).ok(), expected, "{text}");
        }
        for text in ["0", "False", "NO", "off"] {
            assert_eq!(switch(text), Ok(false), "{text}");
        }
        for text in ["", "2", "y", "enabled"] {
            assert!(switch(text).is_err(), "{text}");
        }
    }
}
