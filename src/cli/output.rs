//! Standard output and standard error of commands: what nobody reads any more is dropped, as in `check | head`.
//!
//! The command then ends as it would have, so its exit code still says what it found.

use std::{
    fmt::Display,
    io::{self, StderrLock, StdoutLock, Write},
};

use serde::Serialize;

/// How a command prints its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}

impl Format {
    /// Writes an answer, which has a text for people and members for programs.
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

/// A number of things, with their word.
pub(super) fn counted<N: Copy + Display + From<u8> + PartialEq>(count: N, word: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {word}{plural}")
}

/// A stream whose reader may leave.
pub(super) struct Output<W>(W);

/// Standard output.
pub(super) fn stdout() -> Output<StdoutLock<'static>> {
    Output(io::stdout().lock())
}

/// Standard error.
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
