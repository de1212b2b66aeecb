//! When does a file change? Its directory is watched, so that renames, editors and Kubernetes' swaps of a mounted
//! folder are noticed as well as writes.
//!
//! It stands near the top because the policy and the credentials are both read again on a change. Not every change
//! is announced (a bind mount's is not): whoever waits for changes also compares [`Contents`] from time to time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};
use tokio::{sync::Notify, time::sleep};

/// Watches the directories of some files.
pub struct Watcher {
    changed: Arc<Notify>,
    /// `None` where the system announces nothing.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

/// What some files hold, as far as they can be read: two of these are equal when nothing has changed.
#[derive(PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Option<[u8; 32]>>);

/// Watches nothing yet.
impl Default for Watcher {
    fn default() -> Self {
        let changed = Arc::new(Notify::new());
        let announce = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files is an event too.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                announce.notify_one();
            }
        });
        let failed = |error: &_| {
            tracing::warn!(%error, "changes of files are not announced: they are found by looking");
        };
        Self { changed, watcher: watcher.inspect_err(failed).ok(), directories: BTreeSet::new() }
    }
}

impl Watcher {
    /// Watches the directories of these files from now on, also of what symbolic links among them stand for, and
    /// no others.
    pub fn follow(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let directories: BTreeSet<PathBuf> = files.into_iter().flat_map(directories).collect();
        for gone in self.directories.difference(&directories) {
            drop(watcher.unwatch(gone));
        }
        // What cannot be watched is looked at anyway, and tried again the next time.
        let known = std::mem::take(&mut self.directories);
        self.directories = directories
            .into_iter()
            .filter(|directory| {
                known.contains(directory) || watcher.watch(directory, RecursiveMode::NonRecursive).is_ok()
            })
            .collect();
    }

    /// Returns when something has changed in one of the directories, and what follows at once is over too.
    pub async fn changed(&self) {
        self.changed.notified().await;
        sleep(SETTLE).await;
    }
}

impl Contents {
    /// What these files hold now.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let read = |path: PathBuf| {
            let digest = digest(&path);
            (path, digest)
        };
        Self(files.into_iter().map(read).collect())
    }

    /// What the same files hold now.
    pub fn as_of_now(&self) -> Self {
        Self::of(self.files().cloned())
    }

    /// These contents for the files among `files` that are known, what is there now for the others.
    pub fn with(mut self, files: &BTreeSet<PathBuf>) -> Self {
        self.0.retain(|path, _| files.contains(path));
        for path in files {
            self.0.entry(path.clone()).or_insert_with(|| digest(path));
        }
        self
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }
}

/// The directory a file is in, and the one it really is in.
fn directories(file: PathBuf) -> impl Iterator<Item = PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file), real].into_iter().flatten().filter_map(|path| path.parent().map(directory))
}

fn directory(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn digest(path: &Path) -> Option<[u8; 32]> {
    std::fs::read(path).ok().map(|content| Sha256::digest(content).into())
}

/// An editor, or a tool that copies, changes a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    /// A mounted Kubernetes volume: the files are links into a folder that is swapped by renaming a link.
    #[tokio::test]
    async fn a_swapped_folder_a_rename_and_a_write_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("key"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", path("..data")).unwrap();
        std::os::unix::fs::symlink("..data/key", path("key")).unwrap();
        let mut watcher = Watcher::default();
        watcher.follow([path("key")]);
        std::os::unix::fs::symlink("v2", path("..next")).unwrap();
        fs::rename(path("..next"), path("..data")).unwrap();
        timeout(BOUND, watcher.changed()).await.unwrap();
        watcher.follow([path("key")]);
        fs::write(path("v2/key"), "v3").unwrap();
        timeout(BOUND, watcher.changed()).await.unwrap();
    }

    const BOUND: Duration = Duration::from_secs(30);
}
