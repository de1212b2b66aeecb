//! Reads files. Read without ever waiting for somebody to write it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    pin::pin,
    time::Duration,
};

use nix::libc::O_NONBLOCK;
use tokio::{task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

/// What a file holds, which is zeroed when it is dropped. A pipe or a device is refused: it could not be read again,
/// and whoever opens it may wait for ever.
///
/// # Errors
/// As the system says, or that it is no file, or too large.
pub fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Looked at first: opening a device may do something to it.
    is_file(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    is_file(&metadata)?;
    // Large enough not to move while it is filled, which would leave a copy behind.
    let length = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(io::Error::other("larger than 8 MiB"));
    }
    Ok(content)
}

fn is_file(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::other(match metadata.is_dir() {
        true => "it is a directory",
        false => "not a regular file, which reloads require",
    }))
}

/// Does what reads files on a thread that serves nobody. Where that hangs, calls `hangs`, once, and waits on: no second
/// thread is spent on it.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    hangs: impl FnOnce(),
) -> Option<T> {
    let mut work = pin!(spawn_blocking(work));
    match timeout(HANG_TIMEOUT, &mut work).await {
        Ok(done) => done.ok(),
        Err(_) => {
            hangs();
            work.await.ok()
        }
    }
}

/// For how long a file must not have changed before it counts as whole.
pub const SETTLE_TIME: Duration = Duration::from_secs(2);

/// How long a file may take to be still, or to be read, before somebody is told.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(10);

/// How often files are looked at when nothing announces a change.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Nothing that is read here is larger.
const MAX_FILE: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        for (path, expected) in [
            (path.as_path(), "not a regular file, which reloads require"),
            (Path::new("/dev/zero"), "not a regular file, which reloads require"),
            (folder.path(), "it is a directory"),
        ] {
            assert_eq!(read(path).unwrap_err().to_string(), expected, "{}", path.display());
        }
    }
}
