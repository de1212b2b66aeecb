//! Snapshots of files.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{SETTLE_TIME, read};

/// The state of some files at one moment. Two snapshots are equal if nothing has changed in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub(super) BTreeMap<PathBuf, FileSnapshot>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSnapshot {
    pub(super) content: Content,
    /// Its real path, with links followed.
    pub(super) real: Option<PathBuf>,
    /// The real path of its folder.
    pub(super) folder: Option<PathBuf>,
    pub(super) is_link: bool,
    stamp: Option<Stamp>,
}

/// The contents of a file, or why they are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Digest([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// The metadata that changes when a file is written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
    /// When its metadata changed.
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

    /// Whether it may still be being written, by its timestamp. A time in the future proves nothing.
    pub(super) fn is_fresh(&self) -> bool {
        if self.real.as_deref().is_some_and(|real| appears_whole(real, credentials().as_deref())) {
            return false;
        }
        let modified = self.stamp.and_then(|stamp| stamp.modified);
        modified.is_some_and(|time| time.elapsed().map_or(true, |age| age < SETTLE_TIME))
    }

    /// Whether it may have changed since this time.
    fn is_younger_than(&self, time: SystemTime) -> bool {
        let after = |at: Option<SystemTime>| at.is_some_and(|at| at + TIMESTAMP_PRECISION >= time);
        self.stamp.is_some_and(|stamp| after(stamp.modified) || after(stamp.was_modified))
    }

    /// Whether it is reached through a link that was switched.
    pub(super) fn was_turned(&self, before: &Self) -> bool {
        let elsewhere =
            |one: &Option<PathBuf>, other: &Option<PathBuf>| one.is_some() && other.is_some() && one != other;
        elsewhere(&self.real, &before.real) && (self.is_link || elsewhere(&self.folder, &before.folder))
    }
}

impl Snapshot {
    /// Reads the state of these files. Not for a serving thread.
    pub fn at<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        Self(files.into_iter().map(|path| (path.clone(), FileSnapshot::at(path))).collect())
    }

    /// Whether one of them may have changed since this time.
    pub fn are_younger_than(&self, time: SystemTime) -> bool {
        self.0.values().any(|look| look.is_younger_than(time))
    }

    /// Merges two snapshots.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Returns the first file that may still be being written.
    pub fn fresh(&self) -> Option<&Path> {
        self.0.iter().find(|(_, look)| look.is_fresh()).map(|(path, _)| path.as_path())
    }
}

/// Whether a file is complete whenever it is visible: in a volume of the kubelet, whose current folder has a name like
/// `..2026_11_30_06_42_00.1`, or a systemd credential, which exists before the process.
fn appears_whole(real: &Path, credentials: Option<&Path>) -> bool {
    let of_the_moment =
        |component: Component<'_>| component.as_os_str().as_encoded_bytes().starts_with(b"..2");
    let in_a_volume =
        real.parent().and_then(|folder| folder.components().next_back()).is_some_and(of_the_moment);
    in_a_volume || credentials.is_some_and(|folder| real.starts_with(folder))
}

/// Returns the folder of systemd's `LoadCredential=`.
fn credentials() -> Option<PathBuf> {
    PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).canonicalize().ok()
}

fn was_modified(metadata: &fs::Metadata) -> Option<SystemTime> {
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Returns the folder of a path, `.` for a bare name.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The precision of file timestamps.
const TIMESTAMP_PRECISION: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_before_it_is_written_is_not_waited_for() {
        let credentials = Some(Path::new("/run/credentials/mpc-auth-proxy.service"));
        for (real, expected) in [
            ("/etc/mpc-auth-proxy/config/..2026_11_30_06_42_00.123456789/policy.yaml", true),
            ("/etc/mpc-auth-proxy/config/..2026_11_30_06_42_00.1/below/policy.yaml", false),
            ("/etc/mpc-auth-proxy/config/policy.yaml", false),
            ("/etc/mpc-auth-proxy/..policy.yaml", false),
            ("/run/credentials/mpc-auth-proxy.service/access-key", true),
            ("/run/credentials/mpc-auth-proxy.service.d/access-key", false),
            ("/run/credentials/another.service/access-key", false),
        ] {
            assert_eq!(appears_whole(Path::new(real), credentials), expected, "{real}");
        }
        assert!(!appears_whole(Path::new("/run/credentials/x/y"), None));
    }

    #[test]
    fn a_volume_that_was_just_filled_is_not_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("..2026_11_30_06_42_00.1");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("policy.yaml"), "version: 1").unwrap();
        std::os::unix::fs::symlink(&volume, folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/policy.yaml", folder.path().join("policy.yaml")).unwrap();
        fs::write(folder.path().join("other.yaml"), "version: 1").unwrap();
        let fresh = |name: &str| FileSnapshot::at(&folder.path().join(name)).is_fresh();
        assert_eq!(["policy.yaml", "other.yaml"].map(fresh), [false, true]);
    }
}
