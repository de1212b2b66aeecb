//! File checks of `doctor`: owner, permissions and age.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::finding::{Finding, format_span};
use crate::{
    clock,
    config::{is_exposed, reason},
};

/// Checks files, some of which are secret.
pub(super) fn look(files: &BTreeSet<PathBuf>, secrets: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let others = files.difference(secrets).map(|path| file(path, false));
    secrets.iter().map(|path| file(path, true)).chain(others).collect()
}

fn file(path: &Path, secret: bool) -> Finding {
    let finding =
        |message: String| Finding::ok("file", path.display().to_string(), message).fact("secret", secret);
    let opened = fs::metadata(path).and_then(|metadata| {
        // Opening a pipe would wait for a writer.
        if metadata.is_file() {
            drop(fs::File::open(path)?);
        }
        Ok(metadata)
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(error) => {
            let hint = "make it readable by the proxy's user, and run this as that user";
            return finding(format!("cannot be read: {}", reason(&error))).fail(hint);
        }
    };
    let (mode, owner, group) = (metadata.mode() & 0o7777, owner(metadata.uid()), group(metadata.gid()));
    let age =
        metadata.modified().map(|written| clock::now() - DateTime::<Utc>::from(written)).unwrap_or_default();
    let kind = if secret { "; a secret" } else { "" };
    let finding = finding(format!("{mode:04o} {owner}:{group}, written {} ago{kind}", format_span(age)))
        .fact("owner", owner)
        .fact("group", group)
        .fact("mode", format!("{mode:04o}"))
        .fact("age_seconds", age.num_seconds());
    let ours = metadata.uid() == geteuid().as_raw();
    let (exposed, hint) = if secret {
        let hint =
            "readable or writable by group or others: chmod 600 PATH (in Kubernetes: `defaultMode: 0400`)";
        (is_exposed(mode, ours), hint)
    } else {
        (mode & OTHERS_WRITE != 0, "world-writable: chmod o-w PATH")
    };
    finding.fact("exposed", exposed).warn_if(exposed, hint.replace("PATH", &path.display().to_string()))
}

/// Returns the name of a user, or the id if it has none.
pub(super) fn owner(id: u32) -> String {
    let user = User::from_uid(Uid::from_raw(id)).ok().flatten();
    user.map_or_else(|| id.to_string(), |user| user.name)
}

fn group(id: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(id)).ok().flatten();
    group.map_or_else(|| id.to_string(), |group| group.name)
}

const OTHERS_WRITE: u32 = 0o002;
