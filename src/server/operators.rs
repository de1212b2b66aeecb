//! Operators' commands to a running proxy: freeze, unfreeze, reload, stop. Each leaves one record of who asked and what the
//! result was.
//!
//! A freeze takes effect before it waits for any disk or sink. Then it is saved in the freeze file, if the proxy may write
//! to that folder.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use super::{freeze_watch::look, hostname::hostname};
use crate::{
    audit::{Intervention, Sink, request_id},
    clock,
    config::Loaded,
    limit::{
        AllCallersFrozen, Freeze, FreezeEntry, FreezeScope,
        freeze_file::{self, FreezeFileError},
    },
    reload::{Reloaded, Reloader},
    sandbox,
    stage::ActivePolicy,
};

/// What operators may change. Clones share it.
#[derive(Clone)]
pub struct Operators {
    pub(super) freeze: Freeze,
    pub(super) reloader: Arc<Reloader>,
    pub(super) in_force: Arc<ArcSwap<ActivePolicy>>,
    pub(super) sink: Sink,
    pub(super) persistence: FreezePersistence,
    /// Held while the freeze file is changed.
    pub(super) turn: Arc<Mutex<()>>,
}

/// Whether freezes survive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FreezePersistence {
    /// They are saved in this file.
    In(PathBuf),
    /// The freeze file is in a folder that the proxy may not write to.
    NotThere,
    /// No freeze file is configured.
    Nowhere,
}

impl FreezePersistence {
    /// Returns where this configuration saves freezes. Without an admin socket nobody needs it.
    pub(super) fn of(loaded: &Loaded) -> Self {
        match (&loaded.settings.freeze_file, sandbox::freeze_folder(&loaded.settings, &loaded.warnings)) {
            (Some(path), Some(_)) => Self::In(path.clone()),
            (Some(_), None) => Self::NotThere,
            (None, _) => Self::Nowhere,
        }
    }
}

/// An operator's command.
#[derive(Clone, Debug)]
pub struct OperatorCommand {
    /// The callers it concerns.
    pub scope: FreezeScope,
    /// The operator's user id.
    pub uid: Option<u32>,
    /// The operator's reason.
    pub reason: Option<String>,
    /// The project that it concerns, if any.
    pub project: Option<String>,
}

impl Operators {
    /// Freezes callers, in addition to those already frozen. Returns a note for the operator.
    pub async fn freeze(&self, order: &OperatorCommand) -> Option<String> {
        let OperatorCommand { scope, uid, reason, .. } = order.clone();
        let said = FreezeEntry { scope, reason, uid, time: Some(clock::now()), problem: None };
        self.freeze.add(&said);
        tracing::warn!(whom = %order.scope, uid, reason = order.reason, "frozen by an operator");
        let kept = self.keep(move |path| freeze_file::add(path, &said)).await;
        let problem = kept.err().map(|problem| format!("{ENDS_WITH_PROCESS}: {problem}"));
        self.record("freeze", order, problem.as_deref());
        problem
    }

    /// Unfreezes callers that operators froze. Returns a note for the operator.
    ///
    /// # Errors
    /// [`AllCallersFrozen`].
    pub async fn unfreeze(&self, order: &OperatorCommand) -> Result<Option<String>, AllCallersFrozen> {
        let scope = order.scope.clone();
        tracing::warn!(whom = %scope, uid = order.uid, "unfrozen by an operator: operator freezes lifted");
        let result = match self.freeze.remove(&order.scope) {
            Ok(()) => match self.keep(move |path| freeze_file::remove(path, &scope)).await {
                Ok(()) | Err(PersistError::NoFile(_)) => {
                    Ok(self.file_freezes().then(|| FILE_STILL_FREEZES.into()))
                }
                Err(PersistError::Changing(FreezeFileError::Everybody(error))) => Err(error),
                Err(problem) => Ok(Some(problem.to_string())),
            },
            Err(error) => Err(error),
        };
        let error = result.as_ref().err().map(ToString::to_string);
        self.record("unfreeze", order, result.as_ref().ok().and_then(Option::as_deref).or(error.as_deref()));
        result
    }

    /// Reads the configuration again.
    pub async fn reload(&self, order: &OperatorCommand) -> Reloaded {
        let reloaded = self.reloader.reload().await;
        let problem = match &reloaded {
            Reloaded::Applied(_) => None,
            Reloaded::Refused(problem) | Reloaded::Pending(problem) => Some(problem.as_str()),
        };
        self.record("reload", order, problem);
        reloaded
    }

    /// Records that the process was asked to stop.
    pub fn stop(&self, order: &OperatorCommand) {
        tracing::warn!(uid = order.uid, "shutdown requested by an operator");
        self.record("stop", order, None);
    }

    /// Changes the freeze file on another thread, and puts its new contents in force.
    async fn keep(
        &self,
        change: impl FnOnce(&PathBuf) -> Result<(), FreezeFileError> + Send + 'static,
    ) -> Result<(), PersistError> {
        let path = match &self.persistence {
            FreezePersistence::In(path) => path.clone(),
            FreezePersistence::NotThere => return Err(PersistError::NoFile(NOT_THERE)),
            FreezePersistence::Nowhere => return Err(PersistError::NoFile(NO_FREEZE_FILE)),
        };
        let (freeze, in_force, turn) =
            (self.freeze.clone(), Arc::clone(&self.in_force), Arc::clone(&self.turn));
        let changing = async {
            let turn = turn.lock_owned().await;
            let change = move || {
                let changed = change(&path);
                look(&path, &freeze, &in_force);
                drop(turn);
                changed
            };
            spawn_blocking(change).await
        };
        match timeout(FREEZE_FILE_TIMEOUT, changing).await {
            Ok(Ok(changed)) => changed.map_err(PersistError::Changing),
            Ok(Err(_)) | Err(_) => Err(PersistError::Late),
        }
    }

    fn file_freezes(&self) -> bool {
        self.freeze.in_force().iter().any(|(by, _)| *by == "file")
    }

    pub(super) fn record(&self, action: &'static str, order: &OperatorCommand, problem: Option<&str>) {
        let (now, in_force) = (clock::now(), self.in_force.load());
        let line = Intervention {
            request_id: &request_id(now, &hostname()),
            time: now,
            action,
            uid: order.uid,
            reason: order.reason.as_deref(),
            callers: &order.scope.names(),
            project: order.project.as_deref(),
            policy_hash: in_force.policy.hash(),
            problem,
        };
        // The log has it, too, so a blocked sink does not delay an operator.
        self.sink.try_write(&line.line());
    }
}

/// Why a freeze was not saved in the freeze file.
#[derive(Debug, thiserror::Error)]
enum PersistError {
    #[error("{0}")]
    NoFile(&'static str),
    #[error(transparent)]
    Changing(FreezeFileError),
    #[error("changing the freeze file timed out")]
    Late,
}

const FILE_STILL_FREEZES: &str = "the freeze file still freezes: remove it to lift the freeze";
const ENDS_WITH_PROCESS: &str = "this freeze ends with this process";
const NO_FREEZE_FILE: &str = "set `freeze_file` to survive a restart";
const NOT_THERE: &str = "the `freeze_file` directory is shared, or contains configured files, so the proxy does not write \
                         there; give it its own";
/// The time after which a change counts as hanging.
const FREEZE_FILE_TIMEOUT: Duration = Duration::from_secs(2);
