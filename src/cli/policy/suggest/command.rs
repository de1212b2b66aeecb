//! The options and output of `policy suggest`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::bail;
use serde_json::json;

use super::{
    calls::Calls,
    suggestion::{Suggestion, identity_policy},
};
use crate::{
    cli::{exit, output::Format, policy::records::Records},
    config,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli::policy) struct Suggest {
    #[command(flatten)]
    pub(super) audit: Records,
    /// The proxy's configuration, for the names of projects; without it rules have ids
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The output format: text has the identity policy in comments, json has `policy` and `identity_policy`
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

impl Suggest {
    /// Prints the policy. Exits with 78 if the configuration is invalid.
    pub(in crate::cli::policy) fn run(
        &self,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let projects = match self.config.as_deref().map(config::projects).transpose() {
            Ok(projects) => projects.unwrap_or_default(),
            Err(report) => {
                write!(err, "{report}")?;
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        let mut calls = Calls::default();
        self.audit.each_decision(err, |seen| calls.add(seen))?;
        if calls.allowed.is_empty() {
            bail!("{} has no allowed calls", self.audit.names());
        }
        let policy = Suggestion { calls: &calls, projects: &projects };
        match self.format {
            Format::Text => write!(out, "{policy}")?,
            Format::Json => {
                let both =
                    json!({ "policy": policy.to_string(), "identity_policy": identity_policy(&calls) });
                writeln!(out, "{}", serde_json::to_string_pretty(&both)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
