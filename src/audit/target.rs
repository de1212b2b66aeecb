//! Where records are written to, and why that cannot be opened.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// A file, created with mode 0600 and appended to.
    File(PathBuf),
}

/// The sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// As the system says.
    #[error("cannot open the audit file {path}")]
    File {
        /// Its path.
        path: Box<Path>,
        /// Why.
        source: io::Error,
    },
    /// Another process writes to it: their records would be mixed.
    #[error(
        "the audit file {path} is locked by another process{}: give each proxy an audit file of its own",
        .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// Its path.
        path: Box<Path>,
        /// The process, where `/proc/locks` shows it.
        holder: Option<u32>,
    },
    /// The process was started without a standard output.
    #[error(
        "audit records go to standard output, which is {0}: redirect it, or set `audit.sink` to a file \
         (`/dev/null` to discard them)"
    )]
    NoOutput(&'static str),
}

impl OpenError {
    /// In one line, with what the system says.
    pub fn with_cause(&self) -> String {
        match self {
            Self::File { source, .. } => format!("{self}: {source}"),
            Self::Locked { .. } | Self::NoOutput(_) => self.to_string(),
        }
    }
}

impl Target {
    /// As it is named in the log and in `/status`.
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}
