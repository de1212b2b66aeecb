//! Which user token is in this file?

use std::{future::Future, path::PathBuf, pin::Pin};

use super::{Credential, Provide, ProvideError, Token, files};

/// A file with a user token, kept fresh by somebody else.
pub(super) struct TokenFile {
    pub(super) path: PathBuf,
}

impl Provide for TokenFile {
    fn provide(&self) -> Pin<Box<dyn Future<Output = Result<Credential, ProvideError>> + Send + '_>> {
        Box::pin(async {
            let token = Token::new(&files::line(&self.path)?);
            token.map(Credential::Token).ok_or_else(|| ProvideError::Token(self.path.clone()))
        })
    }
}
