//! Reads files without ever waiting for a writer.

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

/// Reads a file into memory that is zeroed on drop. Pipes and devices are rejected: they cannot be read again, and opening
/// one may block for ever.
///
/// # Errors
/// The system's error; or it is not a regular file, or too large.
pub fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Checked first, because opening a device may have an effect.
    is_file(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    is_file(&metadata)?;
    // Large enough not to be reallocated, which would leave a copy behind.
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

/// Runs `work` on a blocking thread. If it hangs, calls `hangs` once, and goes on waiting, without using a second thread.
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

/// How long a file must be unchanged to count as complete.
pub const SETTLE_TIME: Duration = Duration::from_secs(2);

/// How long a file may take to be complete, or to be read, before that is reported.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(10);

/// How often files are polled without events.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

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
