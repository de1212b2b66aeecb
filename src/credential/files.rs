//! Which key is in these files? One value a file, as Kubernetes mounts a Secret.
//!
//! Nobody can replace two files at once, but a key of which one half is old and the other new signs wrongly, and
//! five wrong signatures lock it. So a change of some of the files is not believed before the others have changed
//! too, or it is clear that they will not; and no change before the files have been left alone for a moment, because
//! all of them may have changed once and some of them twice.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{Credential, Provide, ProvideError, Provided, Providing};
use crate::{
    secret::{Flaw, Secret, key_text},
    signing::{KeyError, Part, SigningKey},
};

/// An access key in two or three files.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// What was read last.
    last: Option<Vec<Secret>>,
}

impl Files {
    pub(super) fn new(access_key: PathBuf, secret_key: PathBuf, security_token: Option<PathBuf>) -> Self {
        Self { paths: [access_key, secret_key].into_iter().chain(security_token).collect(), last: None }
    }

    async fn read(&mut self) -> Result<Provided, ProvideError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let values = self.values()?;
            if self.last.as_ref().is_some_and(|last| !are_same(last, &values)) {
                sleep(LOOK_AGAIN).await;
            }
            let whole = self.last.as_ref().is_none_or(|last| !is_half_changed(last, &values));
            if (whole || Instant::now() >= end) && are_same(&values, &self.values()?) {
                let key = key(&self.paths, &values)?;
                self.last = Some(values);
                return Ok(Provided { credential: Credential::Key(key), expires_at: None });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether what they hold now is a key.
    pub(super) fn examine(&self) -> Result<(), ProvideError> {
        key(&self.paths, &self.values()?).map(drop)
    }

    fn values(&self) -> Result<Vec<Secret>, ProvideError> {
        self.paths.iter().map(|path| text(path)).collect()
    }
}

impl Provide for Files {
    fn provide(&mut self) -> Providing<'_> {
        Box::pin(self.read())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }
}

/// What a file holds. The file is small and local: reading it blocks for microseconds.
pub(super) fn text(path: &Path) -> Result<Secret, ProvideError> {
    let unreadable = |source| ProvideError::Unreadable { path: path.to_owned(), source };
    // By way of bytes: text that is not UTF-8 is no key either, and said to be none.
    let bytes = Zeroizing::new(std::fs::read(path).map_err(unreadable)?);
    Ok(Secret::new(String::from_utf8_lossy(&bytes)))
}

/// The token in a file.
pub(super) fn token(path: &Path) -> Result<Secret, ProvideError> {
    let text = text(path)?;
    key_text(text.expose()).map(Secret::new).map_err(|flaw| no_token(path, flaw))
}

/// A file whose content is no token.
pub(super) fn no_token(path: &Path, flaw: Flaw) -> ProvideError {
    if flaw == Flaw::Empty {
        return ProvideError::Empty { path: path.to_owned() };
    }
    ProvideError::File { path: path.to_owned(), problem: format!("holds no token: it {flaw}") }
}

/// The password in a file: its only line, to the letter, because a password may hold anything.
pub(super) fn password(path: &Path) -> Result<Secret, ProvideError> {
    let text = text(path)?;
    let line = text.expose().trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
    let flaw = match line {
        "" => return Err(ProvideError::Empty { path: path.to_owned() }),
        _ if line.contains(['\r', '\n']) => Flaw::Lines,
        _ if line.contains(char::REPLACEMENT_CHARACTER) => return Err(not_utf8(path)),
        _ => return Ok(Secret::new(line)),
    };
    Err(ProvideError::File { path: path.to_owned(), problem: format!("holds no password: it {flaw}") })
}

fn not_utf8(path: &Path) -> ProvideError {
    ProvideError::File { path: path.to_owned(), problem: "is not UTF-8 text".into() }
}

/// The key that the files hold, in the order of the paths.
fn key(paths: &[PathBuf], values: &[Secret]) -> Result<SigningKey, ProvideError> {
    let mut values = values.iter().cloned();
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
            KeyError::Part(_, Flaw::Empty) => ProvideError::Empty { path },
            KeyError::Part(..) | KeyError::Comma | KeyError::Swapped => {
                ProvideError::Key { place: path.display().to_string().into(), error }
            }
        }
    })
}

/// Whether some of the values are others now and some are not.
fn is_half_changed(before: &[Secret], now: &[Secret]) -> bool {
    let changed = before.iter().zip(now).filter(|(before, now)| before.expose() != now.expose()).count();
    changed > 0 && changed < before.len()
}

fn are_same(one: &[Secret], other: &[Secret]) -> bool {
    one.iter().map(Secret::expose).eq(other.iter().map(Secret::expose))
}

/// Whoever replaces all of the files has done so by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever has replaced one of the files goes on with the next one sooner than this.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_read_half_old_and_half_new() {
        let (folder, mut files) = folder();
        files.provide().await.unwrap();
        fs::write(folder.path().join("ak"), "AKNEW").unwrap();
        let others = async {
            sleep(LOOK_AGAIN * 3).await;
            fs::write(folder.path().join("sk"), "n3w").unwrap();
            sleep(LOOK_AGAIN * 3).await;
            fs::write(folder.path().join("token"), "new").unwrap();
        };
        let (provided, ()) = tokio::join!(files.provide(), others);
        assert_eq!(provided.unwrap().credential, expected("AKNEW", "n3w", "new"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_passed_over_leaves_no_half_behind() {
        let (folder, mut files) = folder();
        files.provide().await.unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("ak", "AKPASSED");
        write("sk", "p4ss3d");
        write("token", "passed");
        write("ak", "AKNEW");
        let others = async {
            sleep(LOOK_AGAIN / 2).await;
            write("sk", "n3w");
            sleep(LOOK_AGAIN / 2).await;
            write("token", "new");
        };
        let (provided, ()) = tokio::join!(files.provide(), others);
        assert_eq!(provided.unwrap().credential, expected("AKNEW", "n3w", "new"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_stays_alone_changed_is_believed_in_the_end() {
        let (folder, mut files) = folder();
        files.provide().await.unwrap();
        fs::write(folder.path().join("sk"), "corrected").unwrap();
        let started = Instant::now();
        let provided = files.provide().await.unwrap();
        assert_eq!(provided.credential, expected("AKEXAMPLE00000001", "corrected", "tok"));
        assert!(started.elapsed() >= PATIENCE);
    }
}
