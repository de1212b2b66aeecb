//! `freeze`, `unfreeze` and `reload`, over the admin socket of a running proxy.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{client::ClientResponse, control::ProxyTarget, output, status::Freeze};
use crate::escape::shown;

/// The proxy and the callers of a freeze.
#[derive(clap::Args)]
pub(super) struct Scope {
    #[command(flatten)]
    target: ProxyTarget,
    /// A caller of the policy; may be repeated. All callers, if not given
    #[arg(long = "caller", value_name = "CALLER")]
    callers: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct FreezeArgs {
    #[command(flatten)]
    scope: Scope,
    /// The reason, which `status` and the audit record show
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The proxy's answer to a freeze or unfreeze.
#[derive(Deserialize)]
struct FreezeReply {
    #[serde(default)]
    freeze: Vec<Freeze>,
    note: Option<String>,
    problem: Option<String>,
}

/// The proxy's answer to a reload.
#[derive(Deserialize)]
struct ReloadReply {
    policy: Option<String>,
    problem: Option<String>,
}

/// The body of a freeze or unfreeze. Without callers it concerns all.
#[derive(Serialize)]
struct FreezeBody<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    callers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn freeze(args: &FreezeArgs) -> anyhow::Result<ExitCode> {
    let FreezeArgs { scope: Scope { target, callers }, reason } = args;
    let told = request_freeze(target, "PUT /freeze", &FreezeBody { callers, reason: reason.as_deref() })?;
    told.print()?;
    Ok(ExitCode::SUCCESS)
}

/// Succeeds if none of the callers is frozen any more.
pub(super) fn unfreeze(Scope { target, callers }: &Scope) -> anyhow::Result<ExitCode> {
    let told = request_freeze(target, "DELETE /freeze", &FreezeBody { callers, reason: None })?;
    told.print()?;
    let still = told.freeze.iter().any(|freeze| freeze.hits(callers));
    Ok(if still { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Succeeds if the files' contents are in force.
pub(super) fn reload(target: &ProxyTarget) -> anyhow::Result<ExitCode> {
    let answer = target.ask("POST /reload", "")?;
    match parsed(&answer)? {
        ReloadReply { policy: Some(hash), .. } => writeln!(output::stdout(), "in force: policy {hash}")?,
        ReloadReply { problem, .. } => bail!("{}", problem.as_deref().unwrap_or(answer.body()).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

impl FreezeReply {
    fn print(&self) -> anyhow::Result<()> {
        let mut out = output::stdout();
        if self.freeze.is_empty() {
            writeln!(out, "nobody is frozen")?;
        }
        for freeze in &self.freeze {
            writeln!(out, "frozen: {freeze}")?;
        }
        if let Some(note) = &self.note {
            writeln!(out, "note: {}", shown(note))?;
        }
        Ok(())
    }
}

/// Sends a freeze or unfreeze, and returns who is frozen.
fn request_freeze(
    target: &ProxyTarget,
    request: &str,
    asked: &FreezeBody<'_>,
) -> anyhow::Result<FreezeReply> {
    let told: FreezeReply = parsed(&target.ask(request, &serde_json::to_string(asked)?)?)?;
    match &told.problem {
        Some(problem) if told.note.is_none() => bail!("{problem}"),
        _ => Ok(told),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &ClientResponse) -> anyhow::Result<T> {
    serde_json::from_str(answer.body())
        .with_context(|| format!("it answered {}: {}", answer.status, answer.body().trim()))
}
