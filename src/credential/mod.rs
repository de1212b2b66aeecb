//! Which key or token is in force now?
//!
//! A [`Provide`] reads a credential from its source; a [`Held`] keeps the last good one. Requests only ever read
//! [`Held::current`]: they never wait for a source. It stands before configuration because a [`Source`] is what a
//! user may write there. It does not sign anything.

mod environment;
mod files;
mod token_file;

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use crate::{
    secret::Secret,
    signing::{KeyError, SigningKey},
};

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `HUAWEICLOUD_SDK_AK`, `_SK` and, for temporary keys, `_SECURITY_TOKEN`.
    Environment,
    /// One file a value, each holding the value and perhaps a line end.
    Files {
        /// The access key (AK).
        access_key: PathBuf,
        /// The secret key (SK).
        secret_key: PathBuf,
        /// The security token of temporary keys.
        security_token: Option<PathBuf>,
    },
    /// A user token, for `X-Auth-Token`.
    TokenFile {
        /// The file that holds it.
        path: PathBuf,
    },
}

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

/// Reads a credential from its source.
pub trait Provide: Send + Sync {
    /// Reads it anew.
    ///
    /// # Errors
    /// Where the source has none to give, or not a whole one.
    fn provide(&self) -> Pin<Box<dyn Future<Output = Result<Credential, ProvideError>> + Send + '_>>;
}

/// Why a source gave no credential. Names where to look; never holds what was found there.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// An environment variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Unset(&'static str),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was found is no key.
    #[error("this is no access key")]
    Key(#[from] KeyError),
    /// What was found is no token.
    #[error("{0} holds no token: a token is one line of visible ASCII")]
    Token(PathBuf),
}

/// A configured credential and the last good value of it.
pub struct Held {
    name: Arc<str>,
    source: Source,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<Credential>,
}

impl Source {
    /// The reader of this source.
    pub fn provider(&self) -> Box<dyn Provide> {
        match self {
            Self::Environment => Box::new(environment::Environment),
            Self::Files { access_key, secret_key, security_token } => Box::new(files::Files {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                security_token: security_token.clone(),
            }),
            Self::TokenFile { path } => Box::new(token_file::TokenFile { path: path.clone() }),
        }
    }
}

impl Held {
    /// A credential that has not been read yet.
    pub fn new(name: Arc<str>, source: Source) -> Self {
        let provider = source.provider();
        Self { name, source, provider, current: ArcSwapOption::empty() }
    }

    /// The name it has in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The kind of its source, as in the configuration.
    pub fn source(&self) -> &'static str {
        match self.source {
            Source::Environment => "environment",
            Source::Files { .. } => "files",
            Source::TokenFile { .. } => "token_file",
        }
    }

    /// The value in force, if there ever was one.
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.current.load_full()
    }

    /// Reads the source anew. Says whether the value changed; when the source fails, the last good one stays.
    ///
    /// # Errors
    /// Why the source gave none.
    pub async fn refresh(&self) -> Result<bool, ProvideError> {
        let fresh = self.provider.provide().await?;
        if self.current.load().as_deref() == Some(&fresh) {
            return Ok(false);
        }
        self.current.store(Some(Arc::new(fresh)));
        Ok(true)
    }
}

impl Credential {
    /// The first four characters of the access key. A token has no part that may be shown.
    pub fn key_hint(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key.key_hint()),
            Self::Token(_) => None,
        }
    }
}

impl Token {
    /// The token, where the text can be a header's value.
    pub fn new(text: &Secret) -> Option<Self> {
        let text = text.expose();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The value of `X-Auth-Token`, marked as sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.0
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
    use std::fs;

    #[tokio::test]
    async fn a_failing_source_leaves_the_last_good_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let held = Held::new("prod".into(), Source::TokenFile { path: path.clone() });
        assert!(matches!(held.refresh().await, Err(ProvideError::Unreadable { .. })));
        assert_eq!(held.current(), None);
        fs::write(&path, "first-token\n").unwrap();
        assert!(held.refresh().await.unwrap());
        assert!(!held.refresh().await.unwrap(), "the same value is no change");
        fs::write(&path, "\n").unwrap();
        let error = held.refresh().await.unwrap_err();
        assert!(error.to_string().contains("holds no token"), "{error}");
        let current = held.current().unwrap();
        assert_eq!(*current, Credential::Token(Token::new(&Secret::new("first-token")).unwrap()));
        assert_eq!(format!("{current:?}"), "Token([token])");
    }

    #[tokio::test]
    async fn keys_are_read_from_files_without_their_line_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let source = Source::Files {
            access_key: file("ak", "AKEXAMPLE\r\n"),
            secret_key: file("sk", "s3cr3t"),
            security_token: Some(file("token", "tok\n")),
        };
        let credential = source.provider().provide().await.unwrap();
        let expected =
            SigningKey::new("AKEXAMPLE", &Secret::new("s3cr3t"), Some(Secret::new("tok"))).unwrap();
        assert_eq!(credential, Credential::Key(expected));
        assert_eq!(credential.key_hint(), Some("AKEX"));
    }

    #[test]
    fn a_token_is_one_line_of_visible_ascii() {
        for bad in ["", "a b", "a\nb", "é", "\u{7f}"] {
            assert!(Token::new(&Secret::new(bad)).is_none(), "{bad:?}");
        }
    }
}
