//! Credentials: the access key or token in force.
//!
//! A provider ([`Provide`]) asks a [`Source`] for a credential; a [`Refresher`] does so ahead of time, again and
//! again; a [`CachedCredential`] keeps the last good value. Requests borrow that as a [`Lease`] and do not wait for a source,
//! but for the first value of all or where the last has expired. It stands after `upstream`, over which IAM, STS
//! and the metadata services are asked, and before configuration, because a [`Source`] is what a user may write
//! there. It does not sign the calls of callers.

mod agency;
mod auto;
mod environment;
mod exchange;
mod files;
mod health;
mod cached;
mod iam_password;
mod ini;
mod ledger;
mod metadata;
mod oidc;
mod oidc_sts;
mod pod_identity;
mod profile;
mod refresh;
mod source;
mod status;
mod token_file;
mod verdict;

use std::{
    error::Error as _,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use http::HeaderValue;

pub use auto::{KnownEndpoints, SourceCandidate, find_candidates};
pub use cached::{CachedCredential, Lease, LeasedCredential, Unavailable};
pub use environment::variable_of;
pub use metadata::endpoint as default_metadata;
pub use profile::{SECTION as DEFAULT_SECTION, default_path as default_profile};
pub use refresh::{Refresher, Round};
pub use source::{
    Agency, DEFAULT_KEY_LIFETIME, MAX_KEY_LIFETIME, Oidc, OidcSts, Password, ProviderContext, SESSION_NAME,
    Source,
};
pub use status::CredentialStatus;
pub use verdict::{Verdict, is_misdated};

use crate::{
    chain::in_words,
    clock::Skew,
    secret::{Flaw, Secret, key_text},
    signing::{KeyError, SigningKey},
    upstream::{DialerError, SendError},
};

/// What upstream knows us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Requests are signed with an access key.
    Key(SigningKey),
    /// Requests carry a user token as `X-Auth-Token`.
    Token(Token),
}

/// A user token, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

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

/// Why a source gave no credential. Names where to look; never holds what was found there.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// An environment variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Unset(&'static str),
    /// An environment variable holds something else than it should.
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
    /// A file holds nothing, or white space.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else than it should.
    #[error("{path} {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The id of an identity provider cannot be sent.
    #[error("no header can carry the id of the identity provider (`idp_id`)")]
    ProviderId,
    /// A file is not whole yet, or cannot be read in time.
    #[error("{0}")]
    Unsettled(String),
    /// What was found is no key.
    #[error("{place} holds no key: {error}")]
    Key {
        /// The file, variable or endpoint that it came from.
        place: Box<str>,
        /// What is wrong with it.
        error: KeyError,
    },
    /// An endpoint could not be asked, or gave no answer.
    #[error("{endpoint} cannot be asked: {source}")]
    Unanswered {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        source: SendError,
    },
    /// An endpoint refused to give one. Its message is left out: it may repeat what it was sent.
    #[error("{endpoint} answered {status}{}", code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
    Refused {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The status of its answer.
        status: u16,
        /// Its error code, where it gave one.
        code: Option<String>,
    },
    /// IAM does not believe the password. Asking again with the same one locks the account.
    #[error("{endpoint} rejected the user name or password: change the password file, or wait 15 minutes")]
    WrongPassword {
        /// The endpoint.
        endpoint: Arc<str>,
    },
    /// An endpoint's answer is not as documented.
    #[error("{endpoint} gave an answer that holds no credential: {problem}")]
    Unusable {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A credential came that has expired already.
    #[error("the credential that came has expired; is this machine's clock right?")]
    Expired,
    /// The machine has no agency.
    #[error("this machine has no agency: give it one in the ECS console")]
    NoAgency,
    /// The credential to assume an agency with cannot be used.
    #[error("the credential `{0}`, with which the agency is assumed, cannot be used now")]
    Base(Arc<str>),
    /// There is no way to an endpoint.
    #[error("there is no way to its endpoint: {0}")]
    Dialer(#[from] DialerError),
    /// There is none of the sources that were looked for.
    #[error("no source was found: {0}")]
    Nowhere(String),
}

impl ProvideError {
    /// Whether asking again will not help: somebody has to change something first. An endpoint or a file that is away
    /// may only be late.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unset(_)
            | Self::Variable(..)
            | Self::WrongPassword { .. }
            | Self::NoAgency
            | Self::Dialer(_) => true,
            // What an agent or IAM may say for a moment: not found yet, too slow, too early, too many.
            Self::Refused { status, .. } => {
                (400..500).contains(status) && ![404, 408, 425, 429].contains(status)
            }
            Self::Unreadable { .. }
            | Self::Empty { .. }
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

    /// Whether nothing is there yet, as opposed to something that is wrong.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Unset(_) | Self::Unreadable { .. } | Self::Empty { .. } => true,
            Self::Variable(..)
            | Self::File { .. }
            | Self::Key { .. }
            | Self::ProviderId
            | Self::Unsettled(_)
            | Self::Unanswered { .. }
            | Self::Refused { .. }
            | Self::WrongPassword { .. }
            | Self::Unusable { .. }
            | Self::Expired
            | Self::NoAgency
            | Self::Base(_)
            | Self::Dialer(_)
            | Self::Nowhere(_) => false,
        }
    }

    /// What to do about something that is there and wrong.
    pub fn remedy(&self) -> &'static str {
        if let Self::Key { error, .. } = self {
            return match error {
                KeyError::Swapped => "exchange the two",
                KeyError::Part(..) | KeyError::Comma => {
                    "write the value alone, as it was given; white space around it does no harm"
                }
            };
        }
        "correct it, or name another"
    }

    /// The file that is wrong, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. } | Self::Empty { path } | Self::File { path, .. } => Some(path),
            Self::Key { place, .. } => Some(Path::new(&**place)),
            Self::Unset(_)
            | Self::Variable(..)
            | Self::ProviderId
            | Self::Unsettled(_)
            | Self::Unanswered { .. }
            | Self::Refused { .. }
            | Self::WrongPassword { .. }
            | Self::Unusable { .. }
            | Self::Expired
            | Self::NoAgency
            | Self::Base(_)
            | Self::Dialer(_)
            | Self::Nowhere(_) => None,
        }
    }

    /// The error with its causes, on one line.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(self.source(), |cause| (*cause).source());
        causes.fold(self.to_string(), |told, cause| {
            let cause = in_words(cause);
            if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
        })
    }
}

impl Credential {
    /// The first four characters of the access key, where it looks like one. A token has no part that may be shown.
    pub fn key_hint(&self) -> Option<&str> {
        match self {
            Self::Key(key) => key.key_hint(),
            Self::Token(_) => None,
        }
    }

    /// What of it stands in a request, and nobody may see: the token, or the security token of a temporary key. The
    /// access key too where it does not look like one, as it may be a secret that stands in its place; a shorter one may be
    /// a part of any word.
    pub fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let (token, access_key) = match self {
            Self::Key(key) => (key.security_token().map(|token| token.expose().as_bytes()), Some(key)),
            Self::Token(token) => (Some(token.header().as_bytes()), None),
        };
        let access_key =
            access_key.filter(|key| key.key_hint().is_none()).map(|key| key.access_key().as_bytes());
        token.into_iter().chain(access_key.filter(|key| key.len() >= MIN_SECRET))
    }
}

/// Of an access key's place, in bytes.
const MIN_SECRET: usize = 8;

impl Token {
    /// The token, as it stands wherever it comes from: see [`key_text`].
    ///
    /// # Errors
    /// What keeps it from being one.
    pub fn new(text: &Secret) -> Result<Self, Flaw> {
        // Visible ASCII is what every header can carry.
        let text = Secret::new(key_text(text.expose())?);
        text.header().map(Self).ok_or(Flaw::Control)
    }

    /// The value of `X-Auth-Token`, marked as sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_visible_ascii() {
        for bad in ["", "a b", "a\nb", "é", "\u{7f}"] {
            assert!(Token::new(&Secret::new(bad)).is_err(), "{bad:?}");
        }
        let token = Token::new(&Secret::new("MIIE\n")).unwrap();
        assert_eq!(token.header(), "MIIE");
        assert_eq!(format!("{:?}", Credential::Token(token)), "Token([token])");
    }
}
