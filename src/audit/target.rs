//! The targets of audit records.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The target of audit records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// A file, created with mode 0600 and appended to.
    File(PathBuf),
}

/// Why a sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system's error.
    #[error("cannot open the audit file {path}")]
    File {
        /// Its path.
        path: Box<Path>,
        /// Why.
        source: io::Error,
    },
    /// Another process writes to the file, so their records would be mixed.
    #[error(
        "the audit file {path} is locked by another process{}: give each proxy an audit file of its own",
        .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// Its path.
        path: Box<Path>,
        /// The process, if `/proc/locks` shows it.
        holder: Option<u32>,
    },
    /// The process has no standard output.
    #[error(
        "audit records go to standard output, which is {0}: redirect it, or set `audit.sink` to a file \
         (`/dev/null` to discard them)"
    )]
    NoOutput(&'static str),
}

impl OpenError {
    /// Formats the error with its cause on one line.
    pub fn with_cause(&self) -> String {
        match self {
            Self::File { source, .. } => format!("{self}: {source}"),
            Self::Locked { .. } | Self::NoOutput(_) => self.to_string(),
        }
    }
}

impl Target {
    /// Returns its name in the log and in `/status`.
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}
