//! The sandbox of a process: which measures are in force, and what is out of reach since.

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

/// What is in force in this process, for whoever wants to know.
#[derive(Debug)]
pub struct Sandbox {
    core_dumps: Restriction,
    privileges: Restriction,
    files: Restriction,
    /// What is read again while it runs.
    again: Vec<RereadFile>,
    /// Files of the configuration whose folders may not be.
    alone: BTreeSet<PathBuf>,
    /// The files among them that were out of reach when they were looked at last, and what was replaced.
    lost: Mutex<BTreeMap<PathBuf, PathBuf>>,
}

/// The sandbox of this process. `None` where it is not one that has a sandbox.
pub fn current() -> Option<&'static Sandbox> {
    CURRENT.get()
}

impl Sandbox {
    /// Does without, for this reason.
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

    /// What takes no configuration: nobody gets a core dump of what is read from now on, or new privileges.
    pub fn begin() -> Self {
        let no_dumps = set_dumpable(false).and(setrlimit(Resource::RLIMIT_CORE, 0, 0));
        let core_dumps = no_dumps.into();
        Self { core_dumps, privileges: set_no_new_privs().into(), ..Self::none("not yet") }
    }

    /// Confines this thread, and those that it will make, to the files that the configuration needs: those that its
    /// reading named.
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

    /// What would be in force in a process of this configuration: tried on a thread that ends, so that this process is not
    /// confined.
    pub fn tried(settings: &Settings, warnings: &Report) -> Self {
        thread::scope(|scope| {
            let confined = || Self::begin().confine(settings, warnings);
            scope.spawn(confined).join().unwrap_or_else(|_| Self::none("not tested"))
        })
    }

    /// Looks which of the files that are read again cannot be any more, and says of each that was replaced so once.
    /// Not for a thread that serves: a file system may hang.
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

    /// What was replaced by something that is out of reach, when that was looked at last.
    pub fn lost(&self) -> BTreeSet<PathBuf> {
        self.lost.lock().values().cloned().collect()
    }

    /// Of that, what a problem with one of the files comes from. Whoever reads that a permission is missing looks in the
    /// wrong place.
    pub fn behind(&self, problem: &str) -> BTreeSet<PathBuf> {
        let lost = self.lost.lock();
        let behind = lost.iter().filter(|(file, _)| problem.contains(&*file.to_string_lossy()));
        behind.map(|(_, replaced)| replaced.clone()).collect()
    }

    /// The measures by name.
    pub fn measures(&self) -> [(&'static str, &Restriction); 3] {
        [("no_core_dumps", &self.core_dumps), ("no_new_privs", &self.privileges), ("landlock", &self.files)]
    }

    /// Says each in the log, and keeps them for whoever asks.
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

/// What is said of a place where something else is now.
pub const REPLACED: &str = "replaced since the start, and the sandbox denies access to the replacement: \
                            restart the proxy, or restore the original";
/// What is said of a file whose folder cannot be opened for it.
pub const SHARED: &str = "this file is in a shared directory, which the sandbox does not open: a replacement file cannot be \
                      read until a restart; give the configuration its own directory";
static CURRENT: OnceLock<Sandbox> = OnceLock::new();
