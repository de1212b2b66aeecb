//! Reads the files of sources.

use std::path::Path;

use tokio::time::{Instant, sleep};

use super::ProvideError;
use crate::{
    secret::{Flaw, Secret, key_text},
    watch::{self, Files, HANG_TIMEOUT, WatchOutcome},
};

/// Runs a read on a blocking thread.
pub(super) async fn off_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ProvideError> + Send + 'static,
) -> Result<T, ProvideError> {
    let read = watch::off_thread(read, || {}).await;
    read.unwrap_or_else(|| Err(ProvideError::Unsettled("cannot read its files".into())))
}

pub(super) fn text(path: &Path) -> Result<Secret, ProvideError> {
    let unreadable = |source| ProvideError::Unreadable { path: path.to_owned(), source };
    // Read as bytes: text that is not UTF-8 gets the message of an invalid key.
    let bytes = watch::read(path).map_err(unreadable)?;
    Ok(Secret::new(String::from_utf8_lossy(&bytes)))
}

pub(super) fn token(path: &Path) -> Result<Secret, ProvideError> {
    let text = text(path)?;
    key_text(text.expose()).map(Secret::new).map_err(|flaw| no_token(path, flaw))
}

pub(super) fn no_token(path: &Path, flaw: Flaw) -> ProvideError {
    if flaw == Flaw::Empty {
        return ProvideError::Empty(path.to_owned());
    }
    ProvideError::File { path: path.to_owned(), problem: format!("has no valid token: it {flaw}") }
}

/// Reads the password from the only line of a file, unchanged, because a password may contain anything.
pub(super) fn password(path: &Path) -> Result<Secret, ProvideError> {
    let text = text(path)?;
    let line = text.expose().trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
    let problem = match line {
        "" => return Err(ProvideError::Empty(path.to_owned())),
        _ if line.contains(['\r', '\n']) => format!("has no valid password: it {}", Flaw::Lines),
        _ if line.contains(char::REPLACEMENT_CHARACTER) => "is not UTF-8 text".into(),
        _ => return Ok(Secret::new(line)),
    };
    Err(ProvideError::File { path: path.to_owned(), problem })
}

/// Returns when the files are complete.
pub(super) async fn wait_until_settled(files: &mut Files) -> Result<(), ProvideError> {
    let end = Instant::now() + HANG_TIMEOUT;
    loop {
        files.look(|_| {}).await;
        let WatchOutcome::Unsettled(path, left) = files.state() else { return Ok(()) };
        if Instant::now() >= end {
            return Err(ProvideError::Unsettled(format!("{} is still being written", path.display())));
        }
        tokio::select! {
            () = files.changed() => {}
            () = sleep(left) => {}
        }
    }
}
