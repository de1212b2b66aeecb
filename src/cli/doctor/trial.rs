//! `doctor --try-credentials`: checks that upstream accepts each project's credential, with one signed view of a job that
//! cannot exist.
//!
//! A running proxy makes the call itself, because it counts refused signatures and stops before they lock the key. Without
//! one this command signs the call, outside any count, and says so. A rejected credential is not tried for another project.

use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::UnixStream,
    time::{Instant, timeout},
};

use super::{finding::Finding, projects::CallPath};
use crate::{
    cli::client,
    config::{self, Settings},
    limit::Cutoff,
    stage::{Acceptance, Project, Trial},
    upstream::DialerError,
};

/// What makes the calls.
#[derive(Clone, Copy)]
enum TrialRunner<'p> {
    /// The running proxy with this admin socket.
    Proxy(&'p Path),
    Ourselves,
}

/// Tries each project in turn.
pub(super) async fn each(path: CallPath<'_>) -> Result<Vec<Finding>, DialerError> {
    let by = TrialRunner::of(path.settings).await;
    let (mut findings, mut refused) = (Vec::new(), BTreeSet::new());
    for project in &path.settings.projects {
        let trial = match &by {
            _ if refused.contains(&project.credential) => Err(REFUSED_BEFORE.into()),
            Ok(TrialRunner::Proxy(socket)) => through(socket, project).await,
            Ok(TrialRunner::Ourselves) => ourselves(path, project).await?,
            Err(error) => Err(format!("cannot tell whether a proxy runs: {error}")),
        };
        if trial.as_ref().is_ok_and(|trial| trial.accepted == Acceptance::Refused) {
            refused.insert(Arc::clone(&project.credential));
        }
        findings.push(finding(project, &trial, by.as_ref().ok().copied()));
    }
    Ok(findings)
}

impl<'p> TrialRunner<'p> {
    async fn of(settings: &'p Settings) -> io::Result<Self> {
        use io::ErrorKind::{ConnectionRefused, NotFound};

        let Some(admin) = &settings.admin else { return Ok(Self::Ourselves) };
        match timeout(TRIAL_TIMEOUT, UnixStream::connect(&admin.path)).await {
            Ok(Ok(_)) => Ok(Self::Proxy(&admin.path)),
            Ok(Err(error)) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(Self::Ourselves),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(late.into()),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Ourselves => "doctor",
        }
    }
}

/// Has the running proxy make the call.
async fn through(admin: &Path, project: &config::Project) -> Result<Trial, String> {
    #[derive(Deserialize)]
    struct Problem {
        problem: String,
    }
    let body = json!({ "project": &*project.name }).to_string();
    let answer = client::over_unix(admin, &client::head("POST /try"), &body).await;
    let answer = answer.map_err(|error| format!("cannot reach the running proxy: {error:#}"))?;
    serde_json::from_str(answer.body()).map_err(|_| match serde_json::from_str(answer.body()) {
        Ok(Problem { problem }) => format!("the running proxy reports: {problem}"),
        Err(_) => format!("the listener there answered {}: it may be another version", answer.status),
    })
}

/// Makes the call in this process.
async fn ourselves(
    path: CallPath<'_>,
    project: &Arc<config::Project>,
) -> Result<Result<Trial, String>, DialerError> {
    let Some(probed) = path.credential(project) else { return Ok(Err("no credential".into())) };
    let upstream = Arc::new(path.upstream(project)?);
    Ok(match Project::new(Arc::clone(project), Arc::clone(&probed.cached), upstream) {
        Some(tried) => Ok(Trial::of(&tried, &Cutoff::default(), Instant::now() + TRIAL_TIMEOUT).await),
        None => Err("its id is not valid in a header".into()),
    })
}

fn finding(project: &config::Project, trial: &Result<Trial, String>, by: Option<TrialRunner<'_>>) -> Finding {
    let message = match trial {
        Ok(trial) => trial.to_string(),
        Err(problem) => format!("not tried: {problem}"),
    };
    let tried = trial.as_ref().ok();
    let finding = Finding::ok("try", &*project.name, message)
        .fact("by", by.map(TrialRunner::as_str))
        .fact("believed", tried.map(|trial| json!(trial.accepted)))
        .fact("sent", tried.is_some_and(|trial| trial.sent))
        .fact("status", tried.and_then(|trial| trial.status))
        .fact("error_code", tried.and_then(|trial| trial.error_code.clone()));
    let Some(trial) = tried else { return finding.fail(SEE_ABOVE) };
    let finding = match by {
        Some(TrialRunner::Proxy(_)) => {
            finding.detail("the running proxy made the call, and counts its signature")
        }
        _ if trial.signed => finding.detail(OUR_SIGNATURE),
        _ => finding,
    };
    match trial.accepted {
        Acceptance::Yes => finding,
        Acceptance::Refused => finding.fail(REFUSED),
        Acceptance::Misdated => finding.fail("set this machine's clock, and try again"),
        Acceptance::Ended => finding.fail("renew the credential, or ask its issuer"),
        Acceptance::Unknown if trial.status.is_some() => finding.warn(UNKNOWN),
        Acceptance::Unknown => finding.fail(SEE_ABOVE),
    }
}

const REFUSED_BEFORE: &str = "its credential was just rejected";
const OUR_SIGNATURE: &str =
    "this command signed it, and no proxy counts it: five invalid signatures in a row lock the key";
const REFUSED: &str = "this was one of five invalid signatures that lock the key: correct its secret key before anything signs \
                       with it again";
const UNKNOWN: &str = "look up its code in Huawei's documentation: the answer may come from an intermediary, or this \
                       region has no such URL";
const SEE_ABOVE: &str = "see the checks of the credential, the endpoint and the running proxy";
/// The time for one call.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);
