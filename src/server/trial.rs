//! Tries a project's credential on an operator's command, and records who asked and the result.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{OperatorCommand, Operators, ProxyStatus};
use crate::stage::{Acceptance, Project, Trial};

/// Records a trial when it is over, even if the operator hung up.
struct TrialRecorder<'o> {
    operators: &'o Operators,
    order: &'o OperatorCommand,
    trial: Option<Trial>,
}

impl ProxyStatus {
    /// Tries the credential of the named project with one call. Returns `None` if there is no such project.
    pub async fn try_credentials(&self, order: &OperatorCommand) -> Option<Trial> {
        let named = |project: &&Arc<Project>| order.project.as_deref() == Some(project.name());
        let project = self.projects.iter().find(named)?;
        let mut recorder = TrialRecorder { operators: &self.operators, order, trial: None };
        let trial = Trial::of(project, &self.cutoff, Instant::now() + TRIAL_TIMEOUT).await;
        recorder.trial = Some(trial.clone());
        Some(trial)
    }
}

impl Drop for TrialRecorder<'_> {
    fn drop(&mut self) {
        let Self { operators, order, trial } = self;
        let (uid, project) = (order.uid, order.project.as_deref());
        let result = trial.as_ref().map_or_else(|| BROKEN_OFF.into(), ToString::to_string);
        tracing::warn!(uid, project, result, "an operator tried a credential");
        let is_accepted = trial.as_ref().is_some_and(|trial| trial.accepted == Acceptance::Yes);
        operators.record("try_credentials", order, Some(&*result).filter(|_| !is_accepted));
    }
}

/// The time for the credential, the connection and the answer together.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);
const BROKEN_OFF: &str = "the client disconnected; a call may have been sent";
