//! Locks the audit file, so that only one process writes to it.
//!
//! The lock is `flock(2)` on the open file: renaming does not affect it, and the kernel releases it when the process ends in
//! any way. A file system that cannot lock is reported, and used anyway.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::stat::{major, minor};

/// Whether other processes can write to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// No other proxy can write to it.
    Held,
    /// The file system cannot lock, so another proxy could.
    Unavailable,
}

/// Another process holds the lock. Holds its id, if `/proc/locks` shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockHeld(pub(super) Option<u32>);

/// Locks the file for as long as it is open. Tries for as long as `patience`, because a killed process may hold it briefly.
pub(super) fn lock(file: &File, path: &Path, patience: Duration) -> Result<Lock, LockHeld> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock::Held),
            Err(TryLockError::Error(error)) => return Ok(unavailable(path, &error)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(RETRY_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(LockHeld(holder(file))),
        }
    }
}

fn unavailable(path: &Path, error: &io::Error) -> Lock {
    tracing::warn!(
        path = %path.display(),
        %error,
        "the audit file's file system does not support locks: a second process could write to the file"
    );
    Lock::Unavailable
}

fn holder(file: &File) -> Option<u32> {
    let meta = file.metadata().ok()?;
    // A listing may miss a lock while others come and go.
    (0..LISTINGS).find_map(|_| holder_in(&fs::read_to_string("/proc/locks").ok()?, &meta))
}

/// Returns the process that holds a `flock` on the file: `1: FLOCK  ADVISORY  WRITE 4711 fd:01:5308 0 EOF`. Some file
/// systems show another device there than in `stat`, so the inode alone has to do if no device matches.
fn holder_in(locks: &str, meta: &Metadata) -> Option<u32> {
    let of_inode: Vec<(&str, u32)> = locks
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            if words.next()? != "FLOCK" {
                return None;
            }
            let pid = words.nth(2)?.parse().ok()?;
            let (device, inode) = words.next()?.rsplit_once(':')?;
            (inode.parse() == Ok(meta.ino()) && pid > 0).then_some((device, pid))
        })
        .collect();
    let device = format!("{:02x}:{:02x}", major(meta.dev()), minor(meta.dev()));
    let same = of_inode.iter().find(|(of, _)| *of == device);
    same.or(of_inode.first()).map(|(_, pid)| *pid)
}

const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// How often to read `/proc/locks` for the holder.
const LISTINGS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_the_other_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let open = || File::options().append(true).create(true).open(&path).unwrap();
        let first = open();
        assert_eq!(lock(&first, &path, Duration::ZERO), Ok(Lock::Held));
        assert_eq!(lock(&open(), &path, Duration::ZERO), Err(LockHeld(Some(std::process::id()))));
        fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
        assert_eq!(lock(&open(), &path, Duration::ZERO), Ok(Lock::Held), "it is another file");
        drop(first);
    }

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let inode = meta.ino();
        let device = format!("{:02x}:{:02x}", major(meta.dev()), minor(meta.dev()));
        let other = format!(
            "1: POSIX  ADVISORY  WRITE 1 {device}:{inode} 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 2 {device}:{inode} 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 3 {device}:{} 0 EOF\n4: FLOCK  ADVISORY  WRITE -1 {device}:{inode} 0 EOF\n",
            inode + 1
        );
        assert_eq!(holder_in(&other, &meta), None);
        let elsewhere = format!("{other}5: FLOCK  ADVISORY  WRITE 5 ff:ff:{inode} 0 EOF\n");
        assert_eq!(holder_in(&elsewhere, &meta), Some(5));
        let here = format!("{elsewhere}6: FLOCK  ADVISORY  WRITE 6 {device}:{inode} 0 EOF\n");
        assert_eq!(holder_in(&here, &meta), Some(6));
    }

    #[test]
    fn a_file_system_that_cannot_lock_is_used_without() {
        let error = io::Error::from_raw_os_error(nix::libc::ENOLCK);
        assert_eq!(unavailable(Path::new("audit.log"), &error), Lock::Unavailable);
    }
}
