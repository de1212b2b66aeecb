//! Which key is in these files? One value a file, as Kubernetes mounts a Secret.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use super::{Credential, Provide, ProvideError};
use crate::{secret::Secret, signing::SigningKey};

/// An access key in two or three files.
pub(super) struct Files {
    pub(super) access_key: PathBuf,
    pub(super) secret_key: PathBuf,
    pub(super) security_token: Option<PathBuf>,
}

impl Provide for Files {
    fn provide(&self) -> Pin<Box<dyn Future<Output = Result<Credential, ProvideError>> + Send + '_>> {
        Box::pin(async {
            let access_key = line(&self.access_key)?;
            let secret_key = line(&self.secret_key)?;
            let security_token = self.security_token.as_deref().map(line).transpose()?;
            Ok(Credential::Key(SigningKey::new(access_key.expose(), &secret_key, security_token)?))
        })
    }
}

/// A file's only line. The file is small and local: reading it blocks for microseconds.
pub(super) fn line(path: &Path) -> Result<Secret, ProvideError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProvideError::Unreadable { path: path.to_owned(), source })?;
    let whole = Secret::new(text);
    Ok(Secret::new(whole.expose().trim_end_matches(['\r', '\n'])))
}
