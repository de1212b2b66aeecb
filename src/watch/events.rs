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

/// Watches the directories of some files. Not for a thread that serves: a directory may hang.
pub(super) struct Watched {
    /// `None` where the system announces nothing.
    watcher: Option<RecommendedWatcher>,
    /// With what was there under the name when it was watched: a name may come to stand for another directory.
    directories: BTreeMap<PathBuf, (u64, u64)>,
}

/// The last thing that happened to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastEvent {
    /// It came whole, by a rename or as a link.
    Arrived,
    /// It was made, written to or removed.
    Written,
}

/// What was announced.
#[derive(Default)]
pub(super) struct FileEvents {
    changed: Notify,
    /// What happened to the files that are asked about, by their real names.
    files: Mutex<BTreeMap<PathBuf, Option<LastEvent>>>,
}

impl Watched {
    /// Watches nothing yet, and tells what there is to hear.
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

    /// Watches the directories of these files from now on, and no others.
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
        // What cannot be watched is looked at anyway, and tried again the next time.
        let mut is_watched = |path: &Path, identity: &(u64, u64)| {
            known.get(path) == Some(identity) || watcher.watch(path, RecursiveMode::NonRecursive).is_ok()
        };
        self.directories =
            directories.into_iter().filter(|(path, identity)| is_watched(path, identity)).collect();
    }
}

impl FileEvents {
    /// Hears of these files from now on, which are told by real names, and of no others.
    pub(super) fn follow(&self, files: &[PathBuf]) {
        let mut events = self.files.lock();
        let mut before = std::mem::take(&mut *events);
        *events = files.iter().map(|file| (file.clone(), before.remove(file).flatten())).collect();
    }

    /// Returns when something has changed that may concern the files.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What last happened to a file since this was asked before.
    pub(super) fn take(&self, file: &Path) -> Option<LastEvent> {
        self.files.lock().get_mut(file)?.take()
    }

    fn record(&self, event: &Event) {
        let last = match event.kind {
            // Reading the files is an event too; and a rename is also told by its two ends.
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
            // Some of the events were lost.
            files.values_mut().for_each(|file| *file = Some(LastEvent::Written));
            concerned = true;
        }
        for path in &event.paths {
            if let Some(file) = files.get_mut(path) {
                *file = Some(last);
                concerned = true;
            }
        }
        // Whatever else got another name may be a folder or a link on the way to them; what else was written is not.
        if concerned || !is_write {
            self.changed.notify_one();
        }
    }
}
