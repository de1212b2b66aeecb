//! Who is frozen, by whom, and why? What an operator says, and what the freeze file says.
//!
//! A file that is there freezes. Only one that can be read and understood to its last member freezes less than
//! everybody: whatever else is the matter with it (empty, cut short, unreadable, of another kind) freezes all calls.
//! Not there is one answer of the system alone, `ENOENT` of its name.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use nix::libc::O_NONBLOCK;
use serde::Deserialize;

use crate::{clock, identity::CallerId};

/// Who is frozen now. Shared by whoever asks or says so.
#[derive(Clone, Default)]
pub struct Freeze(Arc<State>);

#[derive(Default)]
struct State {
    by_operator: ArcSwapOption<Frozen>,
    by_file: ArcSwapOption<Frozen>,
}

/// A freeze that is in force.
#[derive(Debug)]
pub struct Frozen {
    /// Since when it is in force in this process.
    pub since: DateTime<Utc>,
    /// What was said.
    pub said: Said,
}

/// What somebody says is to be frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whose calls.
    pub whom: Whom,
    /// Why, in the words of whoever froze them.
    pub reason: Option<String>,
    /// The user that did.
    pub uid: Option<u32>,
    /// When.
    pub time: Option<DateTime<Utc>>,
    /// Why everybody is frozen, where that is not what was meant for sure.
    pub problem: Option<String>,
}

/// Whose calls are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everybody's.
    Everybody,
    /// Those of these callers.
    Callers(HashSet<CallerId>),
}

impl Freeze {
    /// Whether calls of this caller are refused. It takes no lock, so it may be asked as often as there is a reason to.
    pub fn is_frozen(&self, caller: &CallerId) -> bool {
        let hits = |frozen: &ArcSwapOption<Frozen>| {
            frozen.load().as_deref().is_some_and(|frozen| frozen.said.whom.includes(caller))
        };
        hits(&self.0.by_operator) || hits(&self.0.by_file)
    }

    /// What is in force, with the name of who says so.
    pub fn in_force(&self) -> Vec<(&'static str, Arc<Frozen>)> {
        let both = [("operator", &self.0.by_operator), ("file", &self.0.by_file)];
        both.into_iter().filter_map(|(by, frozen)| Some((by, frozen.load_full()?))).collect()
    }

    /// What an operator says: everybody, or nobody. Says whether that is news.
    pub fn by_operator(&self, frozen: bool) -> bool {
        news(&self.0.by_operator, frozen.then(|| Said::of(Whom::Everybody)))
    }

    /// What the file says. Says whether that is news.
    pub fn by_file(&self, said: Option<Said>) -> bool {
        news(&self.0.by_file, said)
    }
}

fn news(frozen: &ArcSwapOption<Frozen>, said: Option<Said>) -> bool {
    if frozen.load().as_deref().map(|frozen| &frozen.said) == said.as_ref() {
        return false;
    }
    frozen.store(said.map(|said| Arc::new(Frozen { since: clock::now(), said })));
    true
}

impl Whom {
    /// The callers by name, where it is not everybody.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Everybody => Vec::new(),
            Self::Callers(callers) => {
                let mut names: Vec<_> = callers.iter().map(CallerId::as_str).collect();
                names.sort_unstable();
                names
            }
        }
    }

    fn includes(&self, caller: &CallerId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Callers(callers) => callers.contains(caller),
        }
    }
}

impl Said {
    /// What the file of this name says; `None` where there is none. A caller that is not `known` may be one that was
    /// misspelt, so everybody is meant.
    pub fn by(path: &Path, known: impl Fn(&CallerId) -> bool) -> Option<Self> {
        // A FIFO is not waited for.
        let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
        Some(match opened.and_then(|file| text(&file)) {
            Ok(text) if text.trim_ascii().is_empty() => Self::of(Whom::Everybody),
            Ok(text) => Self::parse(&text, known).unwrap_or_else(Self::everybody_for),
            Err(error) if is_absent(path, &error) => return None,
            Err(error) => Self::everybody_for(format!("it cannot be read: {error}")),
        })
    }

    /// Everybody, because that is safe.
    pub fn everybody_for(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::of(Whom::Everybody) }
    }

    fn of(whom: Whom) -> Self {
        Self { whom, reason: None, uid: None, time: None, problem: None }
    }

    fn parse(text: &[u8], known: impl Fn(&CallerId) -> bool) -> Result<Self, String> {
        let written: Written =
            serde_json::from_slice(text).map_err(|error| format!("it is not understood: {error}"))?;
        let whom = match written.callers {
            None => Whom::Everybody,
            Some(names) if names.is_empty() => return Err("it names no caller".into()),
            Some(names) => {
                Whom::Callers(names.iter().map(|name| caller(name, &known)).collect::<Result<_, _>>()?)
            }
        };
        let time = written.time.map(|time| DateTime::parse_from_rfc3339(&time)).transpose();
        let time = time.map_err(|error| format!("its `time` is not understood: {error}"))?;
        let Written { reason, uid, .. } = written;
        Ok(Self { whom, reason, uid, time: time.map(|time| time.to_utc()), problem: None })
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    callers: Option<Vec<String>>,
    reason: Option<String>,
    uid: Option<u32>,
    time: Option<String>,
}

fn caller(name: &str, known: impl Fn(&CallerId) -> bool) -> Result<CallerId, String> {
    let caller = CallerId::parse(name).ok().filter(known);
    caller.ok_or_else(|| format!("the policy has no caller {name:?}"))
}

/// What a regular file holds.
fn text(file: &File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it has more than {LONGEST} bytes")));
    }
    Ok(text)
}

/// Whether nothing has this name, not even a link to something that is not there.
fn is_absent(path: &Path, error: &io::Error) -> bool {
    let not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    not_found(error) && fs::symlink_metadata(path).is_err_and(|error| not_found(&error))
}

/// Room for a thousand callers.
const LONGEST: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn said(path: &Path) -> Option<Said> {
        Said::by(path, |caller| ["a", "b"].map(|name| CallerId::parse(name).unwrap()).contains(caller))
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
        assert!(freeze.by_operator(true));
        assert!(freeze.is_frozen(&caller("b")));
        assert!(freeze.by_file(None) && freeze.by_operator(false));
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
            "a",
            "\u{feff}{}",
            "\0",
            r#"{"callers":["a"]} {"callers":["b"]}"#,
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(said(&path).unwrap().whom, Whom::Everybody, "{text}");
        }
        fs::write(&path, format!(r#"{{"callers":["a"]}}{}"#, " ".repeat(200_000))).unwrap();
        assert_eq!(said(&path).unwrap().whom, Whom::Everybody);
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
            assert!(found.whom == Whom::Everybody && found.problem.is_some(), "{name}: {found:?}");
        }
        let long = "n".repeat(300);
        assert!(said(&path(&long)).is_some(), "a name that is too long");
        assert_eq!(said(&path("none/freeze")), None);
    }
}
