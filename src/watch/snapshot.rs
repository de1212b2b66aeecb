//! What is seen of a file at one moment?

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{SETTLE_TIME, read};

/// What some files hold at one moment: two of these are equal when nothing has changed in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub(super) BTreeMap<PathBuf, FileSnapshot>);

/// One file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSnapshot {
    pub(super) content: Content,
    /// Where it really is, links followed.
    pub(super) real: Option<PathBuf>,
    /// Where the folder really is that it is named in.
    pub(super) folder: Option<PathBuf>,
    pub(super) is_link: bool,
    stamp: Option<Stamp>,
}

/// What a file holds, or why that cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Digest([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// What changes when a file is written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
    /// When its name, owner or permissions changed.
    was_modified: Option<SystemTime>,
}

impl FileSnapshot {
    pub(super) fn at(path: &Path) -> Self {
        let content = match read(path) {
            Ok(content) => Content::Digest(Sha256::digest(&*content).into()),
            Err(error) => Content::Unreadable(error.kind()),
        };
        Self {
            content,
            real: path.canonicalize().ok(),
            folder: folder(path).canonicalize().ok(),
            is_link: path.is_symlink(),
            stamp: fs::metadata(path).ok().map(|metadata| Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                length: metadata.len(),
                modified: metadata.modified().ok(),
                was_modified: was_modified(&metadata),
            }),
        }
    }

    /// Whether somebody may be writing it still, by the time that it has on it. A time to come is no proof that
    /// nobody is.
    pub(super) fn is_fresh(&self) -> bool {
        let modified = self.stamp.and_then(|stamp| stamp.modified);
        modified.is_some_and(|time| time.elapsed().map_or(true, |age| age < SETTLE_TIME))
    }

    /// Whether it is, or may be, another one than at that time.
    fn is_younger_than(&self, time: SystemTime) -> bool {
        let after = |at: Option<SystemTime>| at.is_some_and(|at| at + TIMESTAMP_PRECISION >= time);
        self.stamp.is_some_and(|stamp| after(stamp.modified) || after(stamp.was_modified))
    }

    /// Whether it is there by a link that led elsewhere before.
    pub(super) fn was_turned(&self, before: &Self) -> bool {
        let elsewhere =
            |one: &Option<PathBuf>, other: &Option<PathBuf>| one.is_some() && other.is_some() && one != other;
        elsewhere(&self.real, &before.real) && (self.is_link || elsewhere(&self.folder, &before.folder))
    }
}

impl Snapshot {
    /// What these files hold now. Reads them: not for a thread that serves.
    pub fn at<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        Self(files.into_iter().map(|path| (path.clone(), FileSnapshot::at(path))).collect())
    }

    /// Whether one of them is, or may be, another one than at that time.
    pub fn are_younger_than(&self, time: SystemTime) -> bool {
        self.0.values().any(|look| look.is_younger_than(time))
    }

    /// These and others.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The first file that somebody may still be writing to.
    pub fn fresh(&self) -> Option<&Path> {
        self.0.iter().find(|(_, look)| look.is_fresh()).map(|(path, _)| path.as_path())
    }
}

fn was_modified(metadata: &fs::Metadata) -> Option<SystemTime> {
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// The folder that a file is named in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The times on files are no finer than this.
const TIMESTAMP_PRECISION: Duration = Duration::from_millis(10);
