//! What may this process still do once it has started? No more than its work needs, wherever the kernel can see to
//! that.
//!
//! Each measure is taken as far as it goes; none is a condition. It stands after configuration, which names the
//! files that are needed, and is entered by the command before there are other threads: the kernel confines one
//! thread and those that it makes. Reading is allowed by folder and not by file, because files are replaced by
//! renaming others over them. Sockets and what was opened before are left alone.

use std::{
    collections::BTreeSet,
    env, fmt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use nix::sys::{
    prctl::{set_dumpable, set_no_new_privs},
    resource::{Resource, setrlimit},
};

use crate::{
    audit::Target,
    config::{Bind, Report, Settings},
    credential::default_profile,
};

/// What is in force in this process, for whoever wants to know.
#[derive(Debug)]
pub struct Sandbox {
    core_dumps: Measure,
    privileges: Measure,
    files: Measure,
}

/// One measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It is in force.
    On,
    /// It is in force as far as this kernel goes.
    Partly,
    /// It is not, for this reason.
    Off(String),
}

/// The sandbox of this process. `None` where it is not one that has a sandbox.
pub fn current() -> Option<&'static Sandbox> {
    CURRENT.get()
}

impl Sandbox {
    /// Does without, for this reason.
    pub fn none(reason: &str) -> Self {
        let off = Measure::Off(reason.into());
        Self { core_dumps: off.clone(), privileges: off.clone(), files: off }
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
        let files =
            confine(&Needed::of(settings, warnings)).unwrap_or_else(|error| Measure::Off(error.to_string()));
        Self { files, ..self }
    }

    /// The measures by name.
    pub fn measures(&self) -> [(&'static str, &Measure); 3] {
        [("no_core_dumps", &self.core_dumps), ("no_new_privs", &self.privileges), ("landlock", &self.files)]
    }

    /// Says each in the log, and keeps them for whoever asks.
    pub fn tell(self) {
        for (measure, state) in self.measures() {
            tracing::info!(measure, %state, "sandbox");
        }
        drop(CURRENT.set(self));
    }
}

impl From<nix::Result<()>> for Measure {
    fn from(result: nix::Result<()>) -> Self {
        result.map_or_else(|error| Self::Off(error.desc().into()), |()| Self::On)
    }
}

/// As `/status` and the log have it.
impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Partly => f.write_str("on, as far as this kernel goes"),
            Self::Off(reason) => write!(f, "off: {reason}"),
        }
    }
}

/// The folders of what is needed, and what is needed on its own.
struct Needed {
    read: BTreeSet<PathBuf>,
    append: BTreeSet<PathBuf>,
    bind: BTreeSet<PathBuf>,
}

impl Needed {
    fn of(settings: &Settings, warnings: &Report) -> Self {
        let variables = env::vars_os().filter(|(name, _)| is_a_files(&name.to_string_lossy()));
        let files = warnings.named().iter().cloned();
        let files = files.chain(variables.map(|(_, path)| path.into())).chain(default_profile());
        // It comes and goes, so its folder counts.
        let files = files.chain(settings.freeze_file.clone()).chain(RESOLVER.map(PathBuf::from));
        let system = SYSTEM.map(PathBuf::from).into_iter().chain(env::current_exe());
        let sink = match &settings.audit.sink {
            Target::File(path) => Some(path.clone()),
            Target::Stdout => None,
        };
        let sockets = settings.listeners.iter().filter_map(|listener| match &listener.bind {
            Bind::Unix { path, .. } => Some(path),
            Bind::Tcp(_) | Bind::Systemd(_) => None,
        });
        let sockets = sockets.chain(settings.admin.as_ref().map(|admin| &admin.path)).cloned();
        Self {
            read: files.flat_map(places).chain(system).collect(),
            append: sink.into_iter().flat_map(places).collect(),
            // One that a killed process left behind is replaced.
            bind: sockets.map(|path| folder(&path)).collect(),
        }
    }
}

/// Whether a variable of the official SDKs, or of the platform, names a file.
fn is_a_files(variable: &str) -> bool {
    ["HUAWEICLOUD_SDK_", "HC_CONTAINER_"].iter().any(|prefix| variable.starts_with(prefix))
        && variable.ends_with("_FILE")
}

/// The folder of a file, and of what it stands for where it is a link. A device or a pipe stands alone: nothing is
/// ever put in its place.
fn places(file: PathBuf) -> [PathBuf; 2] {
    let real = file.canonicalize().unwrap_or_else(|_| file.clone());
    [file, real].map(|path| {
        let alone = path.symlink_metadata().is_ok_and(|m| !(m.is_file() || m.is_symlink() || m.is_dir()));
        if alone { path } else { folder(&path) }
    })
}

fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn confine(needed: &Needed) -> Result<Measure, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.create()?;
    for (paths, access) in [
        (&needed.read, AccessFs::ReadFile.into()),
        // What was allocated ahead of a file's end is given back by truncating it to its length.
        (&needed.append, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::Truncate),
        (&needed.bind, AccessFs::MakeSock | AccessFs::RemoveFile),
    ] {
        for path in paths {
            ruleset = allow(ruleset, path, access)?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Measure::On,
        RulesetStatus::PartiallyEnforced => Measure::Partly,
        RulesetStatus::NotEnforced => Measure::Off("not available here".into()),
    })
}

/// What is not there is not needed.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    ruleset.add_rule(PathBeneath::new(place, access))
}

static CURRENT: OnceLock<Sandbox> = OnceLock::new();

/// What is not allowed is denied, of what this version of Landlock knows of.
const KNOWN: ABI = ABI::V5;
/// What turns names into addresses and users: rewritten when the network or the users change.
const RESOLVER: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
/// What the C library loads, what tells how many cores may be used, and where platforms mount secrets that only a
/// profile names.
const SYSTEM: [&str; 9] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/var/lib/sss/mc",
    "/proc",
    "/sys/fs/cgroup",
    "/run/secrets",
    "/var/run/secrets",
];
