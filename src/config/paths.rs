//! Checks that each path has a single, possible use: the proxy must not write where it reads or has a socket.

use super::proxy::ParsedProxy;
use super::report::Position;
use super::settings::Bind;
use super::source_file::SourceFile;
use super::yaml::Node;
use crate::audit::Target;
use crate::watch::folder;
use std::collections::{HashMap, HashSet};
use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A path that the proxy writes or creates, with its location.
struct OwnPath {
    path: PathBuf,
    place: Position,
    used: PathUse,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathUse {
    Records,
    Freezes,
    Callers,
    Operators,
}

/// Reports paths of the proxy's own that have a second use, or are unsuitable for their use.
pub(super) fn check_unique(
    source: &SourceFile,
    policy: Option<&SourceFile>,
    root: &Node,
    parsed: &ParsedProxy,
) {
    let read = policy.into_iter().chain([source]).flat_map(SourceFile::reads);
    let read: HashSet<PathBuf> = read.map(|path| real(&path)).collect();
    let mut taken: HashMap<PathBuf, OwnPath> = HashMap::new();
    for own in owned(root, parsed) {
        let (real, path) = (real(&own.path), own.path.display());
        if read.contains(&real) {
            source.error(own.place, format!("{path} is also an input file"), own.used.hint());
        } else if let Some(first) = taken.get(&real) {
            // Two listeners at the same path have been reported.
            let are_listeners = (own.used, first.used) == (PathUse::Callers, PathUse::Callers);
            if !(are_listeners && own.path == first.path) {
                let message =
                    format!("{path} is also {}, at {}", first.used.what(), source.format(first.place));
                source.error(own.place, message, own.used.hint());
            }
        } else {
            check_use(source, &own);
            taken.insert(real, own);
        }
    }
}

impl PathUse {
    fn what(self) -> &'static str {
        match self {
            Self::Records => "the audit file",
            Self::Freezes => "the freeze file",
            Self::Callers => "a listener's socket",
            Self::Operators => "the admin socket",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Records => "audit records would overwrite it: choose another file, or stdout",
            Self::Freezes => "calls are refused while the freeze file exists: choose a separate path",
            Self::Callers | Self::Operators => "choose another path",
        }
    }
}

/// Returns the paths of the proxy's own, in the order of reports.
fn owned(root: &Node, parsed: &ParsedProxy) -> Vec<OwnPath> {
    let keys = &parsed.keys;
    let mut owned = Vec::new();
    let mut add = |path: &Path, place: Option<Position>, used: PathUse| {
        owned.extend(place.map(|place| OwnPath { path: path.to_owned(), place, used }));
    };
    let place_in = |section: &str, key: &str| root.get(section)?.get(key).map(|node| node.place);
    for bind in keys.listeners.iter().filter_map(|listener| listener.bind.as_ref()) {
        if let Bind::Unix { path, .. } = &bind.value {
            add(path, Some(bind.place), PathUse::Callers);
        }
    }
    if let Some(admin) = &keys.admin {
        add(&admin.path, place_in("admin", "bind"), PathUse::Operators);
    }
    if let Some(path) = &keys.freeze_file {
        add(path, root.get("freeze_file").map(|node| node.place), PathUse::Freezes);
    }
    if let Target::File(path) = &keys.audit.sink {
        add(path, place_in("audit", "sink"), PathUse::Records);
    }
    owned
}

/// Reports a path that cannot have its use, as far as that is visible.
fn check_use(source: &SourceFile, own: &OwnPath) {
    let path = own.path.display();
    match own.used {
        PathUse::Callers | PathUse::Operators => {
            match fs::symlink_metadata(&own.path).map(|found| found.file_type()) {
                Ok(kind) if !kind.is_socket() => {
                    // It may be gone at start. If not, the start reports that the address cannot be bound.
                    let message = format!("cannot create a socket at {path}: it is {}", what(kind));
                    source.warning(own.place, message, "remove it, or choose another path");
                }
                Err(_) if is_missing(folder(&own.path)) => {
                    let message = format!("the directory of {path} does not exist");
                    let hint = "create it before starting the proxy (systemd: RuntimeDirectory=)";
                    source.warning(own.place, message, hint);
                }
                Ok(_) | Err(_) => {}
            }
        }
        PathUse::Records => match fs::metadata(&own.path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_socket() => {
                let message = format!("cannot write records to {path}: it is a socket");
                source.at_start(own.place, message, "choose another file, or stdout");
            }
            // `/dev/stdout` and the like are set up by others.
            Ok(kind) if kind.is_fifo() && !own.path.starts_with("/dev") && !own.path.starts_with("/proc") => {
                let message = format!("{path} is a named pipe: the proxy starts only while it has a reader");
                source.warning(own.place, message, "start its reader first, or choose a file or stdout");
            }
            Ok(_) | Err(_) => {}
        },
        PathUse::Freezes => {}
    }
}

/// Whether a folder is missing. One below `/run` does not count, because the service manager creates it.
fn is_missing(folder: &Path) -> bool {
    !(folder.is_dir() || ["/run", "/var/run"].iter().any(|run| folder.starts_with(run)))
}

fn what(kind: FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_file() => "a file",
        () => "not a socket",
    }
}

/// Returns the canonical path, even if the file does not exist yet.
fn real(path: &Path) -> PathBuf {
    let below = || Some(folder(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(below).unwrap_or_else(|| path.to_owned())
}
