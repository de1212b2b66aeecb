//! The trait that all credential providers implement, and its result.

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use chrono::{DateTime, Utc};

use super::{Credential, ProvideError};
use crate::clock::Skew;

/// The result of a source.
#[derive(Debug)]
pub struct Provided {
    /// The credential.
    pub credential: Credential,
    /// When it expires, if the source says so.
    pub expires_at: Option<Expiry>,
}

/// The expiry of a credential, by the clock of the endpoint that set it.
pub struct Expiry {
    /// When it expires.
    pub at: DateTime<Utc>,
    /// The clock that it refers to.
    pub clock: Skew,
}

/// Asks a source for a credential.
pub trait Provide: Send {
    /// Asks the source.
    fn provide(&mut self) -> ProvideFuture<'_>;

    /// Returns the files that it reads. A change of one may mean a new credential.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether the files are parts of one credential, which nobody can replace atomically.
    fn files_are_parts(&self) -> bool {
        false
    }

    /// Returns the sources that it examined last, if it chooses one.
    fn candidates(&self) -> Arc<[SourceCandidate]> {
        Arc::default()
    }
}

/// The future of a source's answer.
pub type ProvideFuture<'a> = Pin<Box<dyn Future<Output = Result<Provided, ProvideError>> + Send + 'a>>;

/// A source that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCandidate {
    /// Its kind, as in the configuration.
    pub source: &'static str,
    /// Why it was skipped. `None` if it was chosen.
    pub passed_over: Option<String>,
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}
