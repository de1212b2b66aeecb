//! Tracks files until a change is complete.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout},
};

use super::{
    HANG_TIMEOUT, SETTLE_TIME,
    events::{FileEvents, LastEvent, Watched},
    snapshot::{Content, FileSnapshot, Snapshot, folder},
};

/// Files that belong together, and their last accepted state.
pub struct Files {
    names: Vec<PathBuf>,
    /// Whether a change of some of them is incomplete until the others have changed, too.
    together: bool,
    events: Arc<FileEvents>,
    /// Created by the first check.
    watched: Arc<Mutex<Option<Watched>>>,
    tracks: BTreeMap<PathBuf, TrackedFile>,
    /// The contents when they were last accepted, whatever the result.
    taken: Option<BTreeMap<PathBuf, Content>>,
    /// Since when the contents differ.
    differ_since: Option<Instant>,
    reading: Option<PendingRead>,
}

/// The result of checking files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchOutcome {
    /// The contents are those last accepted.
    Same,
    /// The contents have changed and are complete.
    Whole,
    /// The contents have changed, and this file may still be being written. It may be complete after this time.
    Unsettled(PathBuf, Duration),
}

struct TrackedFile {
    look: FileSnapshot,
    since: Instant,
    /// Whether it arrived complete.
    arrived: bool,
}

/// A check in progress, and the file it is at.
struct PendingRead {
    work: JoinHandle<Snapshot>,
    at: Arc<Mutex<PathBuf>>,
}

impl Files {
    /// Creates a tracker of these files without an accepted state.
    pub fn new(names: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            names: names.into_iter().collect(),
            together: false,
            events: Arc::default(),
            watched: Arc::default(),
            tracks: BTreeMap::new(),
            taken: None,
            differ_since: None,
            reading: None,
        }
    }

    /// Makes a change of some files incomplete until the others have changed, too, or clearly will not: nobody can replace
    /// two files at once.
    pub fn together(self) -> Self {
        Self { together: true, ..self }
    }

    /// Creates a tracker that has accepted this snapshot.
    pub fn holding(snapshot: &Snapshot) -> Self {
        let mut files = Self::new(snapshot.0.keys().cloned());
        files.note(snapshot.clone());
        files.take();
        files
    }

    /// Replaces the files, and keeps the state of those that stay.
    pub fn follow(&mut self, names: impl IntoIterator<Item = PathBuf>) {
        let names: Vec<PathBuf> = names.into_iter().collect();
        if names == self.names {
            return;
        }
        self.tracks.retain(|name, _| names.contains(name));
        self.names = names;
        // The check in progress is of other files.
        self.reading = None;
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns when an event may concern them. Never returns without files.
    pub async fn changed(&self) {
        self.events.changed().await;
    }

    /// Checks the files. If that hangs, calls `hangs` once with the file, and goes on waiting. May be dropped and called
    /// again to continue.
    pub async fn look(&mut self, hangs: impl FnOnce(&Path)) {
        if self.names.is_empty() {
            return;
        }
        let reading = self.reading.get_or_insert_with(|| {
            PendingRead::of(self.names.clone(), Arc::clone(&self.events), Arc::clone(&self.watched))
        });
        let snapshot = match timeout(HANG_TIMEOUT, &mut reading.work).await {
            Ok(snapshot) => snapshot,
            Err(_) => {
                hangs(&reading.at.lock());
                (&mut reading.work).await
            }
        };
        self.reading = None;
        self.note(snapshot.unwrap_or_default());
    }

    /// Returns the result of the last check.
    pub fn state(&self) -> WatchOutcome {
        let changed = self.tracks.iter().filter(|(name, track)| self.differs(name, track)).count();
        let left = |since: Instant, whole: Duration| whole.saturating_sub(since.elapsed());
        for (name, track) in &self.tracks {
            if !self.differs(name, track) {
                continue;
            }
            let known = self.taken.as_ref().is_some_and(|taken| taken.contains_key(name));
            let needed = match track.arrived || (!known && !track.look.is_fresh()) {
                true if self.together && self.taken.is_some() => DEBOUNCE,
                true => Duration::ZERO,
                false => SETTLE_TIME,
            };
            let left = left(track.since, needed);
            if !left.is_zero() {
                return WatchOutcome::Unsettled(name.clone(), left);
            }
        }
        if self.together && self.taken.is_some() && (1..self.tracks.len()).contains(&changed) {
            let left = self.differ_since.map_or(Duration::ZERO, |since| left(since, HANG_TIMEOUT));
            let unchanged = self.tracks.iter().find(|(name, track)| !self.differs(name, track));
            if let (false, Some((name, _))) = (left.is_zero(), unchanged) {
                return WatchOutcome::Unsettled(name.clone(), left);
            }
        }
        if changed > 0 || self.taken.as_ref().is_none_or(|taken| taken.len() != self.tracks.len()) {
            WatchOutcome::Whole
        } else {
            WatchOutcome::Same
        }
    }

    /// Whether they are still exactly as in this snapshot.
    pub fn are(&self, snapshot: &Snapshot) -> bool {
        self.tracks.len() == snapshot.0.len()
            && self.tracks.iter().all(|(name, track)| snapshot.0.get(name) == Some(&track.look))
    }

    /// Like [`Self::are`], but only for files in the snapshot.
    pub fn agree_with(&self, snapshot: &Snapshot) -> bool {
        self.tracks.iter().all(|(name, track)| snapshot.0.get(name).is_none_or(|look| *look == track.look))
    }

    /// Returns the state at the last check.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.tracks.iter().map(|(name, track)| (name.clone(), track.look.clone())).collect())
    }

    /// Accepts the state of the last check.
    pub fn take(&mut self) {
        self.taken =
            Some(self.tracks.iter().map(|(name, track)| (name.clone(), track.look.content)).collect());
        self.differ_since = None;
    }

    fn differs(&self, name: &Path, track: &TrackedFile) -> bool {
        self.taken.as_ref().and_then(|taken| taken.get(name)) != Some(&track.look.content)
    }

    fn note(&mut self, snapshot: Snapshot) {
        let now = Instant::now();
        for (name, look) in snapshot.0 {
            let last = self.last(&name, &look);
            let before = self.tracks.remove(&name);
            let track = match before {
                Some(before) if before.look == look => TrackedFile {
                    since: if last == Some(LastEvent::Written) { now } else { before.since },
                    arrived: match last {
                        Some(last) => last == LastEvent::Arrived,
                        None => before.arrived,
                    },
                    look,
                },
                before => {
                    let turned = before.is_some_and(|before| look.was_turned(&before.look));
                    let arrived = last == Some(LastEvent::Arrived) || (turned && last.is_none());
                    TrackedFile { look, since: now, arrived }
                }
            };
            self.tracks.insert(name, track);
        }
        let differ = self.tracks.iter().any(|(name, track)| self.differs(name, track));
        self.differ_since = differ.then(|| self.differ_since.unwrap_or(now));
    }

    /// Returns the last event of a file. For a link and its target, a write to either takes precedence.
    fn last(&self, name: &Path, look: &FileSnapshot) -> Option<LastEvent> {
        let mut last = None;
        for name in names(name, look.folder.as_deref(), look.real.as_deref()) {
            last = match (last, self.events.take(&name)) {
                (Some(LastEvent::Written), _) | (_, Some(LastEvent::Written)) => Some(LastEvent::Written),
                (last, other) => last.or(other),
            };
        }
        last
    }
}

impl PendingRead {
    /// Starts a check. Watches are set up first.
    fn of(files: Vec<PathBuf>, events: Arc<FileEvents>, watched: Arc<Mutex<Option<Watched>>>) -> Self {
        let at: Arc<Mutex<PathBuf>> = Arc::default();
        let told = Arc::clone(&at);
        let work = spawn_blocking(move || {
            let arrive = |name: &Path| told.lock().clone_from(&name.into());
            let names: Vec<PathBuf> = files
                .iter()
                .inspect(|name| arrive(name))
                .flat_map(|name| {
                    let (folder, real) = (folder(name).canonicalize().ok(), name.canonicalize().ok());
                    names(name, folder.as_deref(), real.as_deref())
                })
                .collect();
            events.follow(&names);
            let mut watched = watched.lock();
            watched.get_or_insert_with(|| Watched::new(Arc::clone(&events))).follow(&names);
            let look = |name: PathBuf| {
                arrive(&name);
                let look = FileSnapshot::at(&name);
                (name, look)
            };
            Snapshot(files.into_iter().map(look).collect())
        });
        Self { work, at }
    }
}

/// Returns the names of a file in events: in its real folder, and at the end of links.
fn names(name: &Path, real_folder: Option<&Path>, real: Option<&Path>) -> Vec<PathBuf> {
    let named = real_folder.unwrap_or_else(|| folder(name)).join(name.file_name().unwrap_or_default());
    let real = real.filter(|real| *real != named).map(Path::to_owned);
    real.into_iter().chain([named]).collect()
}

/// The time between the replacements of several files.
const DEBOUNCE: Duration = Duration::from_millis(50);
