//! User token from a file.

use std::path::PathBuf;

use super::{Credential, Provide, ProvideError, ProvideFuture, Provided, Token, read};

/// The provider of a token file, which something else keeps fresh.
pub(super) struct TokenFile(pub(super) PathBuf);

impl TokenFile {
    pub(super) fn read(&self) -> Result<Provided, ProvideError> {
        let token = Token::new(&read::text(&self.0)?).map_err(|flaw| read::no_token(&self.0, flaw))?;
        Ok(Provided { credential: Credential::Token(token), expires_at: None })
    }
}

impl Provide for TokenFile {
    fn provide(&mut self) -> ProvideFuture<'_> {
        let file = Self(self.0.clone());
        Box::pin(read::off_thread(move || file.read()))
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }
}
