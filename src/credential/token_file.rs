//! Which user token is in this file?

use std::path::PathBuf;

use super::{Credential, Provide, ProvideError, Provided, Providing, Token, files};

/// A file with a user token, kept fresh by somebody else.
pub(super) struct TokenFile(pub(super) PathBuf);

impl TokenFile {
    fn read(&self) -> Result<Provided, ProvideError> {
        let token = Token::new(&files::line(&self.0)?).ok_or_else(|| ProvideError::File {
            path: self.0.clone(),
            problem: "holds no token: a token is one line of visible ASCII".into(),
        })?;
        Ok(Provided { credential: Credential::Token(token), expires_at: None })
    }
}

impl Provide for TokenFile {
    fn provide(&mut self) -> Providing<'_> {
        Box::pin(async { self.read() })
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }
}
