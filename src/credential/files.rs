//! Access key from files with one value each, as Kubernetes mounts a Secret.
//!
//! The files are parts of one key: five signatures with a mix of old and new would lock it. [`crate::watch`] judges when the
//! parts belong together.

use std::path::PathBuf;

use super::{Credential, Provide, ProvideError, ProvideFuture, Provided, read};
use crate::{
    secret::{Flaw, Secret},
    signing::{KeyError, Part, SigningKey},
};

#[derive(Clone)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
}

impl Files {
    pub(super) fn new(access_key: PathBuf, secret_key: PathBuf, security_token: Option<PathBuf>) -> Self {
        Self { paths: [access_key, secret_key].into_iter().chain(security_token).collect() }
    }

    /// Reads the key that the files hold now.
    pub(super) fn read(&self) -> Result<Provided, ProvideError> {
        let values: Vec<Secret> =
            self.paths.iter().map(|path| read::text(path)).collect::<Result<_, ProvideError>>()?;
        Ok(Provided { credential: Credential::Key(key(&self.paths, values)?), expires_at: None })
    }
}

impl Provide for Files {
    fn provide(&mut self) -> ProvideFuture<'_> {
        let files = self.clone();
        Box::pin(read::off_thread(move || files.read()))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    fn files_are_parts(&self) -> bool {
        true
    }
}

/// Creates the key from the values of the files, in the order of the paths.
fn key(paths: &[PathBuf], values: Vec<Secret>) -> Result<SigningKey, ProvideError> {
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or_else(|| Secret::new(""));
    let (access_key, secret_key) = (next(), next());
    SigningKey::new(access_key.expose(), &secret_key, values.next()).map_err(|error| {
        let index = match error.part() {
            Part::AccessKey => 0,
            Part::SecretKey => 1,
            Part::SecurityToken => 2,
        };
        let path = paths.get(index).cloned().unwrap_or_default();
        match error {
            KeyError::Part(_, Flaw::Empty) => ProvideError::Empty(path),
            KeyError::Part(..) | KeyError::Comma | KeyError::Swapped => {
                ProvideError::Key { place: path.display().to_string().into(), error }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("ak"), "\u{feff}AKEXAMPLE00000001\r\n").unwrap();
        fs::write(path("sk"), "s3cr3t").unwrap();
        fs::write(path("token"), " tok\n").unwrap();
        let files = Files::new(path("ak"), path("sk"), Some(path("token")));
        (folder, files)
    }

    fn expected(access: &str, secret: &str, token: &str) -> Credential {
        let (secret, token) = (Secret::new(secret), Some(Secret::new(token)));
        Credential::Key(SigningKey::new(access, &secret, token).unwrap())
    }

    #[tokio::test]
    async fn keys_are_read_without_what_stands_around_them() {
        let (_folder, mut files) = folder();
        let provided = files.provide().await.unwrap();
        assert_eq!(provided.credential, expected("AKEXAMPLE00000001", "s3cr3t", "tok"));
        assert_eq!(provided.credential.key_hint(), Some("AKEX"));
        assert_eq!(files.files().len(), 3);
    }
}
