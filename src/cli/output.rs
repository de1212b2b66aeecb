//! Standard output and standard error of commands, which ignore a closed pipe, as in `check | head`.
//!
//! The exit code is the same as if everything had been read.

use std::{
    fmt::Display,
    io::{self, StderrLock, StdoutLock, Write},
};

use serde::Serialize;

/// The output format of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}

impl Format {
    /// Writes an answer as text or JSON.
    pub(super) fn write(
        self,
        answer: &(impl Display + Serialize),
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        match self {
            Self::Text => write!(out, "{answer}")?,
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
        }
        Ok(())
    }
}

/// Formats a number with its noun.
pub(super) fn counted<N: Copy + Display + From<u8> + PartialEq>(count: N, word: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {word}{plural}")
}

/// An output stream whose reader may close it.
pub(super) struct Output<W>(W);

/// Returns standard output.
pub(super) fn stdout() -> Output<StdoutLock<'static>> {
    Output(io::stdout().lock())
}

/// Returns standard error.
pub(super) fn stderr() -> Output<StderrLock<'static>> {
    Output(io::stderr().lock())
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}
