//! The options of `policy explain`, and the question that they form.

use std::{fs, io::Write, net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};

use super::recorded::{Compared, find_line};
use crate::cli::{exit, output::Format, policy::records::Records};
use crate::clock;
use crate::config::{self, Project};
use crate::editing::Body;
use crate::operation::{CREATE, DELETE, Version};
use crate::policy::{Facts, Key, Question, Scope, facts_of, parse_fact, parse_moment};

#[derive(Debug, clap::Args)]
pub(in crate::cli::policy) struct Explain {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    pub(super) config: PathBuf,
    /// Files of audit records: decides a recorded call again, and shows what differs. See `replay`
    #[arg(long, value_name = "AUDIT", requires = "request_id", conflicts_with_all = ["caller", "project", "job", "facts", "at"])]
    pub(super) audit: Vec<PathBuf>,
    /// The recorded call, by `Proxy-Request-Id` or `X-Request-Id` of its answer
    #[arg(long, value_name = "ID", requires = "audit")]
    pub(super) request_id: Option<String>,
    /// The caller, by its name in the policy
    #[arg(long, required_unless_present = "audit", default_value = "", hide_default_value = true)]
    pub(super) caller: String,
    /// The project, by its configured name or its id
    #[arg(long, required_unless_present = "audit", default_value = "", hide_default_value = true)]
    pub(super) project: String,
    /// The job id; not for a create
    #[arg(long)]
    pub(super) job: Option<String>,
    /// A fact of the job, by its condition key; repeat it for several values. A key alone means absent. Facts that are not
    /// given are unknown
    #[arg(long = "fact", value_name = "KEY=VALUE", value_parser = parse_fact)]
    pub(super) facts: Vec<(Key, Option<String>)>,
    /// The body of a create, as it would be sent: judged as the proxy does, and its facts decide
    #[arg(long, value_name = "FILE", conflicts_with_all = ["job", "facts", "audit"])]
    pub(super) body: Option<PathBuf>,
    /// The API version of the body: `v1`, which SDKs send, or `v2`
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = Api::V1, requires = "body")]
    pub(super) api: Api,
    /// The IAM action [default: mpc:editingTask:delete, with a body mpc:editingTask:create]
    #[arg(long)]
    pub(super) action: Option<String>,
    /// The time of the call: a date, or a date and time [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(super) at: Option<DateTime<Utc>>,
    /// The caller's address [default: none, as on a Unix socket]
    #[arg(long, value_name = "IP")]
    pub(super) source_ip: Option<IpAddr>,
    /// The listener
    #[arg(long)]
    pub(super) listener: Option<String>,
    /// The kind of credential that identified the caller
    #[arg(long, value_name = "PROOF")]
    pub(super) identified_by: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// A version of the API.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Api {
    V1,
    V2,
}

impl Explain {
    pub(in crate::cli::policy) fn run(
        &self,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let settings = match config::load(&self.config) {
            Ok(loaded) => loaded.settings,
            Err(report) => {
                writeln!(err, "{report}")?;
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        let scope = |project: &Arc<Project>| Scope { name: project.name.clone(), id: project.id.clone() };
        let projects: Vec<Scope> = settings.projects.iter().map(scope).collect();
        if let Some(request_id) = &self.request_id {
            let line = find_line(&Records::of(self.audit.clone()), request_id, err)?;
            let compared = Compared::with(&line, &settings.policy, &projects)?;
            self.format.write(&compared, out).context("cannot write the answer")?;
            return Ok(ExitCode::SUCCESS);
        }
        let is_it = |project: &&Arc<Project>| [&*project.name, &*project.id].contains(&self.project.as_str());
        let stamps = settings.projects.iter().find(is_it).is_some_and(|project| project.stamp_owner);
        let facts = self.facts(stamps)?;
        let answer = self.question(&facts).ask(&settings.policy, settings.callers.ids(), &projects)?;
        self.format.write(&answer, out).context("cannot write the answer")?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn question<'q>(&'q self, facts: &'q Facts) -> Question<'q> {
        Question {
            caller: &self.caller,
            action: self.action(),
            project: &self.project,
            job: self.job.as_deref(),
            facts,
            at: self.at.unwrap_or_else(clock::now),
            source_ip: self.source_ip,
            listener: self.listener.as_deref(),
            identified_by: self.identified_by.as_deref(),
        }
    }

    fn action(&self) -> &str {
        self.action.as_deref().unwrap_or(if self.body.is_some() { CREATE } else { DELETE })
    }

    /// Returns the given facts or those of the body, whose `user_data` is prefixed with the caller's name if the project
    /// stamps it.
    pub(super) fn facts(&self, stamps: bool) -> anyhow::Result<Facts> {
        let Some(path) = &self.body else { return Ok(facts_of(self.action(), &self.facts)?) };
        if self.action() != CREATE {
            return Err(anyhow!("only {CREATE} has a body: remove --action"));
        }
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let version = if matches!(self.api, Api::V1) { Version::V1 } else { Version::V2 };
        let stamp = Some(self.caller.as_str()).filter(|_| stamps);
        let body = Body::inspect(&bytes, version, stamp).with_context(|| path.display().to_string())?;
        Ok(body.facts().clone())
    }
}
