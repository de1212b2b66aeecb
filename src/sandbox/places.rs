//! The files that the sandbox must allow, and whether they are still the same.
//!
//! Landlock allows files, not names. A folder of the configuration's own is allowed as a whole, because its files are
//! replaced by renaming others over them. In a shared folder, such as `/etc`, only single files are allowed, and their later
//! replacements are out of reach.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf, absolute},
};

use nix::{
    libc::O_NONBLOCK,
    unistd::{AccessFlags, access},
};

use crate::{
    audit::Target,
    config::{Bind, Report, Settings},
    credential::{Source, default_profile},
};

/// The paths that a configuration needs.
pub(super) struct RequiredPaths {
    pub(super) read: BTreeSet<PathBuf>,
    /// The files that are read again after the start.
    pub(super) again: BTreeSet<PathBuf>,
    /// Folders in which records are written.
    pub(super) append: BTreeSet<PathBuf>,
    pub(super) append_shared: BTreeSet<PathBuf>,
    pub(super) bind: BTreeSet<PathBuf>,
    /// The folder of the freeze file.
    pub(super) keep: BTreeSet<PathBuf>,
    /// Files of the configuration in shared folders.
    pub(super) alone: BTreeSet<PathBuf>,
}

/// A file that is read repeatedly, and its identity when it was allowed.
#[derive(Debug)]
pub(super) struct RereadFile {
    file: PathBuf,
    place: PathBuf,
    identity: Option<(u64, u64)>,
}

/// What a sandboxed process of a configuration can access, apart from system libraries.
#[derive(Debug)]
pub struct Reach {
    /// Files that it reads, and folders of its own with their contents.
    pub read: Vec<PathBuf>,
    /// Folders in which it creates files and sockets, and files that it appends to.
    pub write: Vec<PathBuf>,
    /// Files of the configuration in shared folders.
    pub shared: Vec<PathBuf>,
}

impl Reach {
    /// Determines the reach of a configuration.
    pub fn of(settings: &Settings, warnings: &Report) -> Self {
        let RequiredPaths { read, append, append_shared, bind, keep, alone, again: _ } =
            RequiredPaths::of(settings, warnings);
        let is_systems = |path: &PathBuf| {
            let systems = RESOLVER.split_whitespace().chain(SYSTEM.split_whitespace()).map(PathBuf::from);
            systems.flat_map(with_target).chain(env::current_exe()).any(|own| own == *path)
        };
        let write: BTreeSet<PathBuf> = [append, append_shared, bind, keep].into_iter().flatten().collect();
        // It is also there by its full name.
        let again =
            |path: &PathBuf| !path.is_absolute() && absolute(path).is_ok_and(|whole| read.contains(&whole));
        Self {
            read: read
                .iter()
                .filter(|path| !is_systems(path) && path.exists() && !again(path))
                .cloned()
                .collect(),
            write: write.into_iter().collect(),
            shared: alone.into_iter().collect(),
        }
    }
}

impl RequiredPaths {
    pub(super) fn of(settings: &Settings, warnings: &Report) -> Self {
        let variables = env::vars_os().filter(|(name, _)| is_a_files(&name.to_string_lossy()));
        // It may contain other keys than the configured ones.
        let looks = |source: &Source| matches!(source, Source::Auto(_) | Source::Profile { .. });
        let is_asked = settings.credentials.iter().any(|credential| looks(&credential.source));
        let profile = default_profile().filter(|_| is_asked);
        let files = warnings.named().iter().filter(|path| !path.is_dir()).cloned();
        let files = files.chain(variables.map(|(_, path)| path.into())).chain(profile);
        let files: Vec<PathBuf> = files.flat_map(with_target).collect();
        let system = SYSTEM.split_whitespace().map(PathBuf::from).chain(env::current_exe());
        let resolver: Vec<PathBuf> =
            RESOLVER.split_whitespace().map(PathBuf::from).flat_map(with_target).collect();
        let sink = match &settings.audit.sink {
            Target::File(path) => Some(path.clone()),
            Target::Stdout => None,
        };
        let sinks: Vec<PathBuf> = sink.into_iter().flat_map(with_target).collect();
        let (append_shared, append) =
            sinks.iter().map(|path| written_in(path)).partition(|place: &PathBuf| is_shared(place));
        let sockets = settings.listeners.iter().filter_map(|listener| match &listener.bind {
            Bind::Unix { path, .. } => Some(path),
            Bind::Tcp(_) | Bind::Systemd(_) => None,
        });
        let sockets = sockets.chain(settings.admin.as_ref().map(|admin| &admin.path)).cloned();
        Self {
            again: files.iter().chain(&resolver).filter(|path| !sinks.contains(path)).cloned().collect(),
            alone: files.iter().filter(|path| place(path) == **path && path.is_file()).cloned().collect(),
            read: files
                .iter()
                .cloned()
                .chain(resolver)
                .map(|path| place(&path))
                .chain(system)
                .chain(sinks)
                .collect(),
            append,
            append_shared,
            // Sockets left behind by a killed process are replaced.
            bind: sockets.map(|path| folder(&path)).collect(),
            keep: freeze_folder(settings, warnings).into_iter().collect(),
        }
    }
}

/// Returns the folder of the freeze file, if operators may freeze and it is a folder of its own. It must not be the
/// configuration's folder, where write access would allow changing the policy.
pub fn freeze_folder(settings: &Settings, warnings: &Report) -> Option<PathBuf> {
    let path = settings.admin.as_ref().and(settings.freeze_file.as_ref())?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let own = real(&folder(path));
    let holds =
        |file: &&PathBuf| file.is_file() && (folder(&real(file)) == own || real(&folder(file)) == own);
    let configured = warnings.named().iter().filter(|file| *file != path).any(|file| holds(&file));
    (!is_shared(&own) && !configured).then(|| folder(path))
}

impl RereadFile {
    pub(super) fn of(file: &Path) -> Self {
        let place = place(file);
        Self { file: file.to_owned(), identity: identity(&place), place }
    }

    /// Returns the file and its place if the place is no longer what was allowed.
    ///
    /// Access is tried, because a file with another identity may still be in an allowed folder.
    pub(super) fn lost(&self) -> Option<(&Path, &Path)> {
        let replaced = identity(&self.place) != self.identity;
        is_kept_away(&self.file).then_some((&self.file, if replaced { &self.place } else { &self.file }))
    }
}

/// Whether a file is readable by its permissions, but cannot be opened. Landlock does not affect the check of permissions.
fn is_kept_away(file: &Path) -> bool {
    let is_file = || fs::metadata(file).is_ok_and(|found| found.is_file());
    let open = || OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(file);
    is_file()
        && open().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        && access(file, AccessFlags::R_OK).is_ok()
}

/// Returns what to allow so that a file can be read: its folder or, if that is shared, the file. For a missing file, the
/// nearest existing folder.
fn place(path: &Path) -> PathBuf {
    if is_special(path) {
        return path.to_owned();
    }
    let folder = folder(path);
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(&folder);
    if is_shared(there) { path.to_owned() } else { there.to_owned() }
}

fn written_in(path: &Path) -> PathBuf {
    if is_special(path) { path.to_owned() } else { folder(path) }
}

/// Returns a file and, if it is a link, its target.
fn with_target(file: PathBuf) -> [PathBuf; 2] {
    let real = file.canonicalize().unwrap_or_else(|_| file.clone());
    [file, real]
}

/// Whether it is a device or a pipe, which is never replaced.
fn is_special(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| !(m.is_file() || m.is_symlink() || m.is_dir()))
}

/// Whether a folder is shared: the system's, a home directory, or one for everybody.
fn is_shared(folder: &Path) -> bool {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let is_home = env::var_os("HOME").is_some_and(|home| real == Path::new(&home))
        || real.parent() == Some(Path::new("/home"));
    let is_everybodys = fs::metadata(&real).is_ok_and(|found| found.is_dir() && found.mode() & STICKY != 0);
    is_home || is_everybodys || SHARED_FOLDERS.split_whitespace().any(|shared| real == Path::new(shared))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether a variable of the official SDKs or the platform names a file.
fn is_a_files(variable: &str) -> bool {
    ["HUAWEICLOUD_SDK_", "HC_CONTAINER_"].iter().any(|prefix| variable.starts_with(prefix))
        && variable.ends_with("_FILE")
}

fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

const STICKY: u32 = 0o1000;
/// Folders that many programs use.
const SHARED_FOLDERS: &str = "
    / /bin /boot /dev /etc /etc/kubernetes /etc/pki /etc/pki/tls /etc/ssl /home /media /mnt /opt /proc
    /root /run /sbin /srv /sys /tmp /usr /usr/local /usr/local/etc /usr/share /var /var/lib /var/log
    /var/run /var/spool /var/tmp
";
/// Files for resolving host and user names.
const RESOLVER: &str = "
    /etc/resolv.conf /etc/hosts /etc/nsswitch.conf /etc/host.conf /etc/gai.conf /etc/passwd /etc/group
    /etc/ld.so.cache
";
/// Files of the C library, files for the number of cores, and folders where platforms mount secrets that only a profile
/// names.
const SYSTEM: &str = "
    /lib /lib64 /usr/lib /usr/lib64 /var/lib/sss/mc /proc /sys/fs/cgroup /run/secrets /var/run/secrets
";
