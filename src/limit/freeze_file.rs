//! The freeze file.
//!
//! An existing file freezes all callers, unless every member of it can be understood: an empty, truncated, unreadable or
//! other kind of file freezes everybody. Only `ENOENT` for its name means that it does not exist.
//!
//! Operators' freezes are saved in it, so that they survive the process. A file counts as theirs only if it is byte for byte
//! what would be written for its contents; any other is left alone.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use chrono::{DateTime, SecondsFormat};
use nix::libc::O_NONBLOCK;
use serde::{Deserialize, Serialize};

use super::freeze::{AllCallersFrozen, FreezeEntry, FreezeScope};
use crate::{identity::CallerId, object::Object};

/// Why an operator's freeze was not saved.
#[derive(Debug, thiserror::Error)]
pub enum FreezeFileError {
    /// The file was written by something else.
    #[error("the freeze file was not written by this proxy: remove it to lift the freeze")]
    NotOurs,
    /// Single callers cannot be removed from a freeze of all.
    #[error(transparent)]
    Everybody(#[from] AllCallersFrozen),
    /// The system's error.
    #[error("cannot change the freeze file: {0}")]
    Io(#[from] io::Error),
}

/// Reads the freeze in a file. `None` if the file does not exist. An unknown caller may be a misspelling, so it freezes all
/// callers.
pub fn read(path: &Path, known: impl Fn(&CallerId) -> bool) -> Option<FreezeEntry> {
    // Do not wait for the writer of a FIFO.
    let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
    Some(match opened.and_then(|file| text(&file)) {
        Ok(text) if text.trim_ascii().is_empty() => FreezeEntry::of(FreezeScope::Everybody),
        Ok(text) => parse(&text, known).unwrap_or_else(FreezeEntry::everybody_for),
        Err(error) if is_absent(path, &error) => return None,
        Err(error) => FreezeEntry::everybody_for(format!("cannot read it: {error}")),
    })
}

fn parse(text: &[u8], known: impl Fn(&CallerId) -> bool) -> Result<FreezeEntry, String> {
    let Object(written): Object<FreezeDocument> =
        serde_json::from_slice(text).map_err(|error| format!("invalid content: {error}"))?;
    let scope = match written.callers {
        None => FreezeScope::Everybody,
        Some(names) if names.is_empty() => return Err("no callers".into()),
        Some(names) => {
            FreezeScope::Callers(names.iter().map(|name| caller(name, &known)).collect::<Result<_, _>>()?)
        }
    };
    let time = written.time.map(|time| DateTime::parse_from_rfc3339(&time)).transpose();
    let time = time.map_err(|error| format!("invalid `time`: {error}"))?;
    let FreezeDocument { reason, uid, .. } = written;
    Ok(FreezeEntry { scope, reason, uid, time: time.map(|time| time.to_utc()), problem: None })
}

/// Adds an operator's freeze to the file, which is created if missing.
///
/// # Errors
/// If something else wrote the file, or it cannot be written.
pub fn add(path: &Path, said: &FreezeEntry) -> Result<(), FreezeFileError> {
    write(path, &said.with(of_operators(path)?.as_ref()))
}

/// Removes callers from the operators' freeze in the file, and the file if nobody is left.
///
/// # Errors
/// If something else wrote the file, or it cannot be written; or [`AllCallersFrozen`].
pub fn remove(path: &Path, scope: &FreezeScope) -> Result<(), FreezeFileError> {
    let Some(said) = of_operators(path)? else { return Ok(()) };
    match said.without(scope)? {
        Some(said) => write(path, &said),
        None => Ok(fs::remove_file(path)?),
    }
}

/// Returns the operators' freeze in the file. `None` if there is no file.
fn of_operators(path: &Path) -> Result<Option<FreezeEntry>, FreezeFileError> {
    // All names count as known, because a caller may have left the policy since.
    let Some(said) = read(path, |_| true) else { return Ok(None) };
    if said.uid.is_none() || said.time.is_none() || fs::read(path)? != written(&said)? {
        return Err(FreezeFileError::NotOurs);
    }
    Ok(Some(said))
}

/// Replaces the file atomically.
fn write(path: &Path, said: &FreezeEntry) -> Result<(), FreezeFileError> {
    let mut fresh = OsString::from(path);
    fresh.push(".new");
    let mut file = File::create(&fresh)?;
    file.write_all(&written(said)?)?;
    file.sync_all()?;
    Ok(fs::rename(&fresh, path)?)
}

fn written(said: &FreezeEntry) -> io::Result<Vec<u8>> {
    let FreezeEntry { scope, reason, uid, time, .. } = said;
    let callers =
        (*scope != FreezeScope::Everybody).then(|| scope.names().into_iter().map(str::to_owned).collect());
    let time = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let mut text = serde_json::to_vec(&FreezeDocument { callers, reason: reason.clone(), uid: *uid, time })?;
    text.push(b'\n');
    Ok(text)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FreezeDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    callers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    uid: Option<u32>,
    time: Option<String>,
}

fn caller(name: &str, known: impl Fn(&CallerId) -> bool) -> Result<CallerId, String> {
    let caller = CallerId::parse(name).ok().filter(known);
    caller.ok_or_else(|| format!("unknown caller {name:?}"))
}

fn text(file: &File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Whether nothing has this name, not even a dangling link.
fn is_absent(path: &Path, error: &io::Error) -> bool {
    let not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    not_found(error) && fs::symlink_metadata(path).is_err_and(|error| not_found(&error))
}

/// Room for a thousand callers.
const MAX_BYTES: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::limit::Freeze;

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn said(path: &Path) -> Option<FreezeEntry> {
        read(path, |caller| ["a", "b"].map(|name| CallerId::parse(name).unwrap()).contains(caller))
    }

    #[test]
    fn a_file_that_names_callers_freezes_them_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freeze");
        assert_eq!(said(&path), None);
        let text = r#"{"callers":["a"],"reason":"drill","uid":0,"time":"2026-11-29T12:00:00Z"}"#;
        fs::write(&path, text).unwrap();
        let found = said(&path).unwrap();
        assert_eq!((found.reason.as_deref(), found.uid, &found.problem), (Some("drill"), Some(0), &None));
        let freeze = Freeze::default();
        assert!(freeze.by_file(Some(found.clone())) && !freeze.by_file(Some(found)), "told once");
        assert!(freeze.is_frozen(&caller("a")) && !freeze.is_frozen(&caller("b")));
        freeze.add(&FreezeEntry::of(FreezeScope::Everybody));
        assert!(freeze.is_frozen(&caller("b")));
        assert!(freeze.by_file(None) && freeze.remove(&FreezeScope::Everybody).is_ok());
        assert!(!freeze.is_frozen(&caller("a")) && freeze.in_force().is_empty());
    }

    #[test]
    fn a_file_that_is_not_understood_freezes_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freeze");
        for text in [
            "",
            " \n",
            "{}",
            r#"{"callers":null}"#,
            r#"{"callers":[]}"#,
            r#"{"callers":["a"]"#,
            r#"{"callers":"a"}"#,
            r#"{"callers":["a"],"callers":["b"]}"#,
            r#"{"callers":["a","c"]}"#,
            r#"{"callers":["a b"]}"#,
            r#"{"callers":["a"],"until":"noon"}"#,
            r#"{"callers":["a"],"time":"noon"}"#,
            r#"{"callers":["a"],"uid":-1}"#,
            r#"{"callers":["a"],"reason":1}"#,
            r#"["a"]"#,
            r#"[["a"],null,null,null]"#,
            "a",
            "\u{feff}{}",
            "\0",
            r#"{"callers":["a"]} {"callers":["b"]}"#,
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(said(&path).unwrap().scope, FreezeScope::Everybody, "{text}");
        }
        fs::write(&path, format!(r#"{{"callers":["a"]}}{}"#, " ".repeat(200_000))).unwrap();
        assert_eq!(said(&path).unwrap().scope, FreezeScope::Everybody);
    }

    #[test]
    fn what_cannot_be_read_freezes_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("file"), "").unwrap();
        symlink("nothing", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
        for name in ["folder", "file/freeze", "dangling", "loop", "fifo", "socket"] {
            let found = said(&path(name)).unwrap_or_else(|| panic!("{name} is taken for absent"));
            assert!(found.scope == FreezeScope::Everybody && found.problem.is_some(), "{name}: {found:?}");
        }
        let long = "n".repeat(300);
        assert!(said(&path(&long)).is_some(), "a name that is too long");
        assert_eq!(said(&path("none/freeze")), None);
    }

    #[test]
    fn operators_change_what_they_wrote_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freeze");
        let said = |names: &[&str]| FreezeEntry {
            scope: FreezeScope::Callers(names.iter().map(|name| CallerId::parse(name).unwrap()).collect()),
            reason: Some("drill \"1\"".into()),
            uid: Some(0),
            time: DateTime::from_timestamp(1_768_465_800, 0),
            problem: None,
        };
        let text = || fs::read_to_string(&path).unwrap();
        add(&path, &said(&["b"])).unwrap();
        add(&path, &FreezeEntry { reason: None, ..said(&["a"]) }).unwrap();
        let both = r#"{"callers":["a","b"],"reason":"drill \"1\"","uid":0,"time":"2026-01-15T08:30:00Z"}"#;
        assert_eq!(text(), format!("{both}\n"));
        remove(&path, &said(&["a", "c"]).scope).unwrap();
        assert_eq!(text(), format!("{both}\n").replace("\"a\",", ""));
        remove(&path, &said(&["b"]).scope).unwrap();
        assert!(!path.exists());
        remove(&path, &FreezeScope::Everybody).unwrap();
        add(&path, &FreezeEntry { scope: FreezeScope::Everybody, ..said(&[]) }).unwrap();
        assert!(matches!(
            remove(&path, &said(&["a"]).scope),
            Err(FreezeFileError::Everybody(AllCallersFrozen))
        ));
        remove(&path, &FreezeScope::Everybody).unwrap();
        for others in ["", "{}", "{}\n", both, &format!("{both}\n\n"), r#"{"uid":0}"#, "not JSON"] {
            fs::write(&path, others).unwrap();
            assert!(matches!(add(&path, &said(&["a"])), Err(FreezeFileError::NotOurs)), "{others}");
            assert!(
                matches!(remove(&path, &FreezeScope::Everybody), Err(FreezeFileError::NotOurs)),
                "{others}"
            );
            assert_eq!(text(), others);
        }
        let nowhere = folder.path().join("none/freeze");
        assert!(matches!(add(&nowhere, &said(&["a"])), Err(FreezeFileError::Io(_))));
        remove(&nowhere, &FreezeScope::Everybody).unwrap();
    }
}
