//! File system events.
use parking_lot::Mutex;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{ModifyKind, RenameMode},
};
use tokio::sync::Notify;

/// Watches the directories of some files. Not for a serving thread, because a directory may hang.
pub(super) struct Watched {
    /// `None` if the system sends no notifications.
    watcher: Option<RecommendedWatcher>,
    /// The watched directories with their identities, because a name may later lead to another directory.
    directories: BTreeMap<PathBuf, (u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastEvent {
    /// It arrived complete, by a rename or as a link.
    Arrived,
    /// It was created, written to or removed.
    Written,
}

#[derive(Default)]
pub(super) struct FileEvents {
    changed: Notify,
    /// The last events of the followed files, by their real names.
    files: Mutex<BTreeMap<PathBuf, Option<LastEvent>>>,
}

impl Watched {
    /// Creates a watcher without directories that reports to `told`.
    pub(super) fn new(told: Arc<FileEvents>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => told.record(&event),
            Err(_) => told.changed.notify_one(),
        });
        let failed = |error: &_| {
            tracing::warn!(%error, "file change notifications are unavailable: polling instead");
        };
        Self { watcher: watcher.inspect_err(failed).ok(), directories: BTreeMap::new() }
    }

    /// Replaces the watched directories with those of these files.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let directory = |file: &PathBuf| {
            let parent = file.parent()?;
            let metadata = fs::metadata(parent).ok()?;
            Some((parent.to_owned(), (metadata.dev(), metadata.ino())))
        };
        let directories: BTreeMap<_, _> = files.iter().filter_map(directory).collect();
        let Some(watcher) = &mut self.watcher else { return };
        let known = std::mem::take(&mut self.directories);
        for (path, identity) in &known {
            if directories.get(path) != Some(identity) {
                drop(watcher.unwatch(path));
            }
        }
        // A directory that cannot be watched is polled anyway, and tried again the next time.
        let mut is_watched = |path: &Path, identity: &(u64, u64)| {
            known.get(path) == Some(identity) || watcher.watch(path, RecursiveMode::NonRecursive).is_ok()
        };
        self.directories =
            directories.into_iter().filter(|(path, identity)| is_watched(path, identity)).collect();
    }
}

impl FileEvents {
    /// Replaces the followed files, given by their real names.
    pub(super) fn follow(&self, files: &[PathBuf]) {
        let mut events = self.files.lock();
        let mut before = std::mem::take(&mut *events);
        *events = files.iter().map(|file| (file.clone(), before.remove(file).flatten())).collect();
    }

    /// Returns when an event may concern the files.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the last event of a file since the last call.
    pub(super) fn take(&self, file: &Path) -> Option<LastEvent> {
        self.files.lock().get_mut(file)?.take()
    }

    fn record(&self, event: &Event) {
        let last = match event.kind {
            // Reading is an event, too, and a rename also has events for its two ends.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => LastEvent::Arrived,
            EventKind::Modify(ModifyKind::Metadata(_)) => return self.changed.notify_one(),
            EventKind::Create(_) if event.paths.iter().all(|path| path.is_symlink()) => LastEvent::Arrived,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => LastEvent::Written,
        };
        let is_write = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        let mut files = self.files.lock();
        let mut concerned = false;
        if event.need_rescan() {
            // Events were lost.
            files.values_mut().for_each(|file| *file = Some(LastEvent::Written));
            concerned = true;
        }
        for path in &event.paths {
            if let Some(file) = files.get_mut(path) {
                *file = Some(last);
                concerned = true;
            }
        }
        // Another renamed path may be a folder or link on the way to them; another written file is not.
        if concerned || !is_write {
            self.changed.notify_one();
        }
    }
}
