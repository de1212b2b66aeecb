//! What a provider of credentials is: the one trait of all sources, and what it gives.

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use chrono::{DateTime, Utc};

use super::{Credential, ProvideError};
use crate::clock::Skew;

/// What a source gave.
#[derive(Debug)]
pub struct Provided {
    /// The credential.
    pub credential: Credential,
    /// When it ends, where the source says so.
    pub expires_at: Option<Expiry>,
}

/// The end of a credential, by the clock of the endpoint that set it.
pub struct Expiry {
    /// When it ends.
    pub at: DateTime<Utc>,
    /// By this clock.
    pub clock: Skew,
}

/// Asks a source for a credential.
pub trait Provide: Send {
    /// Asks it anew.
    fn provide(&mut self) -> ProvideFuture<'_>;

    /// The files that it reads: when one of them changes, there may be a new credential.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether those files are parts of one credential: nobody can replace two of them at once.
    fn files_are_parts(&self) -> bool {
        false
    }

    /// Which sources it looked for the last time, where it is the first that is there.
    fn candidates(&self) -> Arc<[SourceCandidate]> {
        Arc::default()
    }
}

/// A source's answer, which is on its way.
pub type ProvideFuture<'a> = Pin<Box<dyn Future<Output = Result<Provided, ProvideError>> + Send + 'a>>;

/// A source that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCandidate {
    /// Its kind, as in the configuration.
    pub source: &'static str,
    /// Why it was passed over. `None` where it is the one.
    pub passed_over: Option<String>,
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}
