//! Tracks files until a change is whole.

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

/// Some files that belong to one thing, and what was taken of them.
pub struct Files {
    names: Vec<PathBuf>,
    /// Whether a change of some of them is a half one until the others have changed too.
    together: bool,
    events: Arc<FileEvents>,
    /// Made by the first look.
    watched: Arc<Mutex<Option<Watched>>>,
    tracks: BTreeMap<PathBuf, TrackedFile>,
    /// What they held when they were taken, whatever came of it.
    taken: Option<BTreeMap<PathBuf, Content>>,
    /// Since when they hold something else.
    differ_since: Option<Instant>,
    reading: Option<PendingRead>,
}

/// What came of looking at files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchOutcome {
    /// They hold what was taken.
    Same,
    /// They hold something else, and all of it is whole.
    Whole,
    /// They hold something else, and this one is, or may be, still being written. It may be whole after so long.
    Unsettled(PathBuf, Duration),
}

/// One of them, as it was when it was last looked at.
struct TrackedFile {
    look: FileSnapshot,
    since: Instant,
    /// It came whole.
    arrived: bool,
}

/// A look that is under way, and at which file.
struct PendingRead {
    work: JoinHandle<Snapshot>,
    at: Arc<Mutex<PathBuf>>,
}

impl Files {
    /// These files, of which nothing was taken yet.
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

    /// The same, where a change of some of them is a half one until the others have changed too, or it is clear that
    /// they will not. Nobody can replace two files at once.
    pub fn together(self) -> Self {
        Self { together: true, ..self }
    }

    /// The files that were looked at, and what was seen was taken.
    pub fn holding(snapshot: &Snapshot) -> Self {
        let mut files = Self::new(snapshot.0.keys().cloned());
        files.note(snapshot.clone());
        files.take();
        files
    }

    /// Other files from now on. What is known of those that stay is kept.
    pub fn follow(&mut self, names: impl IntoIterator<Item = PathBuf>) {
        let names: Vec<PathBuf> = names.into_iter().collect();
        if names == self.names {
            return;
        }
        self.tracks.retain(|name, _| names.contains(name));
        self.names = names;
        // What is under way is a look at other files.
        self.reading = None;
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns when something was announced that may concern them. Ends only where there are files.
    pub async fn changed(&self) {
        self.events.changed().await;
    }

    /// Looks at them. Where that hangs, calls `hangs` with the file, once, and waits on. May be dropped and called
    /// again: then it goes on.
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

    /// What came of the last look.
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

    /// Whether they hold now what they held at that moment, and nobody has touched them.
    pub fn are(&self, snapshot: &Snapshot) -> bool {
        self.tracks.len() == snapshot.0.len()
            && self.tracks.iter().all(|(name, track)| snapshot.0.get(name) == Some(&track.look))
    }

    /// The same, of those that there were at that moment too.
    pub fn agree_with(&self, snapshot: &Snapshot) -> bool {
        self.tracks.iter().all(|(name, track)| snapshot.0.get(name).is_none_or(|look| *look == track.look))
    }

    /// What was seen in the last look.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.tracks.iter().map(|(name, track)| (name.clone(), track.look.clone())).collect())
    }

    /// What was seen in the last look is the state that others are told from, from now on.
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

    /// What was announced of a file. Of a link and what it stands for, that one was written counts.
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
    /// Begins. What is looked at is watched before.
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

/// The names of a file as events have them: in its folder, wherever that really is, and where links lead.
fn names(name: &Path, real_folder: Option<&Path>, real: Option<&Path>) -> Vec<PathBuf> {
    let named = real_folder.unwrap_or_else(|| folder(name)).join(name.file_name().unwrap_or_default());
    let real = real.filter(|real| *real != named).map(Path::to_owned);
    real.into_iter().chain([named]).collect()
}

/// Whoever has replaced one of several files goes on with the next one sooner than this.
const DEBOUNCE: Duration = Duration::from_millis(50);
