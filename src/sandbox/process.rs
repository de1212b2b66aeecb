//! The sandbox of a process: the measures in force, and the files that are out of reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
};

use nix::sys::{
    prctl::{set_dumpable, set_no_new_privs},
    resource::{Resource, setrlimit},
};
use parking_lot::Mutex;

use super::{
    places::{RequiredPaths, RereadFile},
    restriction::Restriction,
    ruleset::confine,
};
use crate::config::{Report, Settings};

/// The sandbox of this process.
#[derive(Debug)]
pub struct Sandbox {
    core_dumps: Restriction,
    privileges: Restriction,
    files: Restriction,
    /// The files that are read repeatedly.
    again: Vec<RereadFile>,
    /// Files of the configuration whose folders are not allowed.
    alone: BTreeSet<PathBuf>,
    /// The files that were out of reach at the last check, with what was replaced.
    lost: Mutex<BTreeMap<PathBuf, PathBuf>>,
}

/// Returns the sandbox of this process, if it has one.
pub fn current() -> Option<&'static Sandbox> {
    CURRENT.get()
}

impl Sandbox {
    /// Creates one without any measure, for this reason.
    pub fn none(reason: &str) -> Self {
        let off = Restriction::Off(reason.into());
        Self {
            core_dumps: off.clone(),
            privileges: off.clone(),
            files: off,
            again: Vec::new(),
            alone: BTreeSet::new(),
            lost: Mutex::default(),
        }
    }

    /// Applies the measures that need no configuration: no core dumps of secrets read from now on, no new privileges.
    pub fn begin() -> Self {
        let no_dumps = set_dumpable(false).and(setrlimit(Resource::RLIMIT_CORE, 0, 0));
        let core_dumps = no_dumps.into();
        Self { core_dumps, privileges: set_no_new_privs().into(), ..Self::none("not yet") }
    }

    /// Confines this thread, and those that it starts, to the files that the configuration names.
    pub fn confine(self, settings: &Settings, warnings: &Report) -> Self {
        let needed = RequiredPaths::of(settings, warnings);
        let again = needed.again.iter().map(|file| RereadFile::of(file)).collect();
        match confine(&needed).unwrap_or_else(|error| Restriction::Off(error.to_string())) {
            files @ Restriction::Off(_) => Self { files, ..self },
            files @ (Restriction::On | Restriction::Partly) => {
                Self { files, again, alone: needed.alone, ..self }
            }
        }
    }

    /// Returns the sandbox that a process of this configuration would have, tried on a temporary thread so that this process
    /// is not confined.
    pub fn tried(settings: &Settings, warnings: &Report) -> Self {
        thread::scope(|scope| {
            let confined = || Self::begin().confine(settings, warnings);
            scope.spawn(confined).join().unwrap_or_else(|_| Self::none("not tested"))
        })
    }

    /// Checks which of the repeatedly read files are out of reach, and logs each once. Not for a serving thread, because a
    /// file system may hang.
    pub fn look(&self) {
        let owned = |(file, replaced): (&Path, &Path)| (file.to_owned(), replaced.to_owned());
        let lost: BTreeMap<PathBuf, PathBuf> =
            self.again.iter().filter_map(RereadFile::lost).map(owned).collect();
        let before = self.lost();
        *self.lost.lock() = lost;
        for path in self.lost().difference(&before) {
            tracing::warn!(path = %path.display(), "{REPLACED}");
        }
    }

    /// Returns what had been replaced by something out of reach at the last check.
    pub fn lost(&self) -> BTreeSet<PathBuf> {
        self.lost.lock().values().cloned().collect()
    }

    /// Returns the replaced paths that explain a problem with a file, which otherwise looks like missing permissions.
    pub fn behind(&self, problem: &str) -> BTreeSet<PathBuf> {
        let lost = self.lost.lock();
        let behind = lost.iter().filter(|(file, _)| problem.contains(&*file.to_string_lossy()));
        behind.map(|(_, replaced)| replaced.clone()).collect()
    }

    /// Returns the measures by name.
    pub fn measures(&self) -> [(&'static str, &Restriction); 3] {
        [("no_core_dumps", &self.core_dumps), ("no_new_privs", &self.privileges), ("landlock", &self.files)]
    }

    /// Logs each measure, and makes this the sandbox of the process.
    pub fn log(self) {
        for (measure, state) in self.measures() {
            tracing::info!(measure, %state, "sandbox");
        }
        for path in &self.alone {
            tracing::warn!(path = %path.display(), "{SHARED}");
        }
        drop(CURRENT.set(self));
    }
}

/// The message about a replaced path.
pub const REPLACED: &str = "replaced since the start, and the sandbox denies access to the replacement: \
                            restart the proxy, or restore the original";
/// The message about a file in a shared folder.
pub const SHARED: &str = "this file is in a shared directory, which the sandbox does not open: a replacement file cannot be \
                      read until a restart; give the configuration its own directory";
static CURRENT: OnceLock<Sandbox> = OnceLock::new();
