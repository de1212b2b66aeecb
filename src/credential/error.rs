//! The errors of credential sources, and what to do about them.

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    chain::in_words,
    signing::KeyError,
    upstream::{DialerError, SendError},
};

/// Why a source gave no credential. Names the place, never its contents.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// An environment variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Unset(&'static str),
    /// An environment variable has an invalid value.
    #[error("the environment variable {0} {1}")]
    Variable(&'static str, &'static str),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is empty or has only white space.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// A file has invalid contents.
    #[error("{path} {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The id of an identity provider is not a valid header value.
    #[error("the identity provider id (`idp_id`) is not valid in a header")]
    ProviderId,
    /// A file is still being written, or cannot be read in time.
    #[error("{0}")]
    Unsettled(String),
    /// The text found is not a valid key.
    #[error("{place} has no valid key: {error}")]
    Key {
        /// The file, variable or endpoint that it came from.
        place: Box<str>,
        /// What is wrong with it.
        error: KeyError,
    },
    /// An endpoint could not be reached, or gave no answer.
    #[error("request to {endpoint} failed: {source}")]
    Unanswered {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        source: SendError,
    },
    /// An endpoint refused. Its message is left out, because it may repeat what it was sent.
    #[error("{endpoint} answered {status}{}", code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
    Refused {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The status of its answer.
        status: u16,
        /// Its error code, if any.
        code: Option<String>,
    },
    /// IAM rejected the password. Trying the same one again would lock the account.
    #[error("{0} rejected the user name or password: change the password file, or wait 15 minutes")]
    WrongPassword(Arc<str>),
    /// An endpoint's answer does not match the documentation.
    #[error("{endpoint} returned no valid credential: {problem}")]
    Unusable {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The credential received has already expired.
    #[error("received an expired credential; check this machine's clock")]
    Expired,
    /// The machine has no agency.
    #[error("this machine has no agency: set one in the ECS console")]
    NoAgency,
    /// The credential to assume an agency with is not usable.
    #[error("the agency's base credential `{0}` is not usable now")]
    Base(Arc<str>),
    /// An endpoint has no usable route.
    #[error("no route to its endpoint: {0}")]
    Dialer(#[from] DialerError),
    /// None of the sources exists.
    #[error("no source found: {0}")]
    Nowhere(String),
}

impl ProvideError {
    /// Whether somebody has to change something before asking again can help. A missing endpoint or file may only be late.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unset(_)
            | Self::Variable(..)
            | Self::WrongPassword(_)
            | Self::NoAgency
            | Self::Dialer(_) => true,
            // Answers that an agent or IAM may give temporarily: not found yet, too slow, too early, too many.
            Self::Refused { status, .. } => {
                (400..500).contains(status) && ![404, 408, 425, 429].contains(status)
            }
            Self::Unreadable { .. }
            | Self::Empty(_)
            | Self::File { .. }
            | Self::Key { .. }
            | Self::ProviderId
            | Self::Unsettled(_)
            | Self::Unanswered { .. }
            | Self::Unusable { .. }
            | Self::Expired
            | Self::Base(_)
            | Self::Nowhere(_) => false,
        }
    }

    /// Whether nothing is there yet, as opposed to something invalid.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Unset(_) | Self::Unreadable { .. } | Self::Empty(_))
    }

    /// Returns what to do about something invalid.
    pub fn remedy(&self) -> &'static str {
        let Self::Key { error, .. } = self else { return "correct it, or use another" };
        match error {
            KeyError::Swapped => "exchange the two",
            KeyError::Part(..) | KeyError::Comma => {
                "write only the value; surrounding white space is ignored"
            }
        }
    }

    /// Returns the invalid file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        if let Self::Unreadable { path, .. } | Self::Empty(path) | Self::File { path, .. } = self {
            return Some(path);
        }
        if let Self::Key { place, .. } = self { Some(Path::new(&**place)) } else { None }
    }

    /// Formats the error with its causes on one line.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(self.source(), |cause| (*cause).source());
        causes.fold(self.to_string(), |told, cause| {
            let cause = in_words(cause);
            if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
        })
    }
}
