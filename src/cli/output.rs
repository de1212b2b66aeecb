//! Standard output and standard error of commands: what nobody reads any more is dropped, as in `check | head`.
//!
//! The command then ends as it would have, so its exit code still says what it found.

use std::{
    fmt::Display,
    io::{self, StderrLock, StdoutLock, Write},
};

/// How a command prints its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
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

/// A text of somebody else's on a line for people: it neither ends the line, nor hides or turns anything on it, nor steers a
/// terminal.
pub(super) fn shown(text: &str) -> String {
    let hidden = |c: char| !c.is_ascii_graphic() && c != ' ' && c.escape_debug().count() > 1;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_spelt_out() {
        for (text, expected) in [
            ("a <b> \"c\" 'd' \\ é 客户", "a <b> \"c\" 'd' \\ é 客户"),
            ("drill\nready", "drill\\nready"),
            ("\u{1b}[31m\u{9b}31m\u{202e}\u{7f}\r", "\\u{1b}[31m\\u{9b}31m\\u{202e}\\u{7f}\\r"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
