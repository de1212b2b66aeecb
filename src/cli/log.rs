//! Where does the log go? To standard error, as JSON or as text; standard output belongs to audit records.

use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// Starts logging, for the rest of the process's life.
pub(super) fn start(format: LogFormat, level: Level) {
    let text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let log = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    let started = if text {
        tracing::subscriber::set_global_default(log.with_ansi(io::stderr().is_terminal()).finish())
    } else {
        tracing::subscriber::set_global_default(log.json().flatten_event(true).finish())
    };
    // Only a second call could fail, and there is one.
    drop(started);
}

/// Prints an error with its causes.
pub(super) fn print_error(error: &anyhow::Error) {
    // Where standard error is gone nobody is left to tell.
    drop(writeln!(io::stderr(), "error: {error:#}"));
}
