//! Polls the freeze file, first before anything is accepted.
//!
//! It polls because bind mounts and network file systems send no notifications. It has a thread of its own, because reading
//! a file on a mount that hangs never returns. Until such a read returns, all calls are frozen.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::timeout};

use crate::{
    identity::CallerId,
    limit::{Freeze, FreezeEntry, FreezeScope, freeze_file},
    stage::ActivePolicy,
};

/// Polls the freeze file until it is dropped.
pub(super) struct FreezeFileWatch {
    path: Arc<PathBuf>,
    freeze: Freeze,
    /// Changes with each poll.
    checks: watch::Receiver<()>,
}

impl FreezeFileWatch {
    /// Starts to poll.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        path: PathBuf,
        freeze: Freeze,
        in_force: Arc<ArcSwap<ActivePolicy>>,
    ) -> io::Result<Self> {
        if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            tracing::warn!(
                file = %path.display(),
                "the freeze file's directory does not exist: create it before the start, or a file put there later may \
                 be unreadable and freeze everybody"
            );
        }
        let (looked, checks) = watch::channel(());
        let (path, shared) = (Arc::new(path), freeze.clone());
        let file = Arc::clone(&path);
        let look = move || look(&file, &shared, &in_force);
        let thread = thread::Builder::new().name("freeze file".into()).spawn(move || {
            look();
            while looked.send(()).is_ok() {
                thread::sleep(POLL_INTERVAL);
                look();
            }
        });
        drop(thread?);
        Ok(Self { path, freeze, checks })
    }

    /// Returns when the file has been read, or its reading takes too long.
    pub(super) async fn looked(&mut self) {
        // The second try is for a process that was itself suspended, with its thread.
        for patience in [READ_TIMEOUT, POLL_INTERVAL * 10] {
            match timeout(patience, self.checks.changed()).await {
                Ok(Ok(())) => return,
                Ok(Err(_)) => break,
                Err(_) => {}
            }
        }
        self.nothing_is_known("reading it timed out");
    }

    /// Supervises the polling for ever.
    pub(super) async fn run(mut self) {
        while self.checks.has_changed().is_ok() {
            self.looked().await;
        }
        self.nothing_is_known("its watcher has stopped");
        std::future::pending().await
    }

    fn nothing_is_known(&self, problem: &str) {
        apply(&self.path, &self.freeze, Some(FreezeEntry::everybody_for(problem.into())));
    }
}

/// Reads the file and puts its freeze in force.
pub(super) fn look(path: &Path, freeze: &Freeze, in_force: &ArcSwap<ActivePolicy>) {
    let known = in_force.load();
    read_in_turn(path, freeze, |caller| known.callers.ids().contains(caller));
}

/// Does so one reading at a time: the watcher and operators read, and an older reading must not replace a newer one.
fn read_in_turn(path: &Path, freeze: &Freeze, known: impl Fn(&CallerId) -> bool) {
    let _turn = freeze.file_turn();
    apply(path, freeze, freeze_file::read(path, known));
}

/// Puts a freeze in force, and logs changes.
fn apply(path: &Path, freeze: &Freeze, said: Option<FreezeEntry>) {
    if !freeze.by_file(said.clone()) {
        return;
    }
    let file = path.display();
    let Some(FreezeEntry { scope, reason, uid, time, problem }) = said else {
        tracing::warn!(frozen = false, %file, "the freeze file is gone: it freezes nobody");
        return;
    };
    let time = time.map(|time| time.to_rfc3339());
    match scope {
        FreezeScope::Everybody => {
            tracing::warn!(frozen = true, %file, reason, uid, time, problem, "the freeze file freezes everybody");
        }
        FreezeScope::Callers(_) => {
            tracing::warn!(frozen = true, %file, callers = %scope, reason, uid, time, "the freeze file freezes some callers");
        }
    }
}

/// How soon a freeze is noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The time after which a read counts as hanging.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn an_older_reading_does_not_replace_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, freeze, ends) = (folder.path().join("freeze"), Freeze::default(), AtomicBool::new(false));
        let is_frozen = || {
            read_in_turn(&path, &freeze, |_| true);
            !freeze.in_force().is_empty()
        };
        let wrong = thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Relaxed) {
                    is_frozen();
                }
            });
            let wrong = (0..2_000).filter(|_| {
                fs::write(&path, "").unwrap();
                let lost = !is_frozen();
                fs::remove_file(&path).unwrap();
                is_frozen() || lost
            });
            let wrong = wrong.count();
            ends.store(true, Relaxed);
            wrong
        });
        assert_eq!(wrong, 0);
    }
}
