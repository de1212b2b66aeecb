//! `doctor`: checks whether the proxy would work in this environment.
//!
//! Where `check` reads, this command asks: every source for a credential, every endpoint for an answer. It binds
//! nothing, changes nothing, and makes no call: MPC gets one request without a credential. Only `--try-credentials`, which
//! views, and `--contract`, which creates and cancels, make calls. It should run where the proxy runs, as the proxy's
//! user; what it finds holds for who asks and when.

mod certificate;
mod contract;
mod credentials;
mod endpoints;
mod files;
mod kernel;
mod finding;
mod hints;
mod startup;
mod trial;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use chrono::TimeDelta;
use nix::unistd::geteuid;
use serde_json::json;

use self::{
    contract::{CallPath, ContractArgs, Plan},
    credentials::ProbedSource,
    endpoints::ProbedEndpoint,
    finding::{CheckStatus, Finding, count, format_span, rfc3339},
};
use super::{
    check::{self, ValidConfig},
    errors, exit,
    output::{self, Format},
    start::runtime,
};
use crate::{
    clock::{self, Clocks, Skew, TOLERATED},
    config::{self, CredentialSettings, Project, Settings, Severity},
    upstream::{Egress, Roots, variable},
};

/// Try everything that the proxy needs: sources of credentials, endpoints, files, the clock; and say what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proxy.yaml to read
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Also make one harmless signed call for each project, a view of a job that cannot exist: through the proxy, where one
    /// runs. A wrong signature is one of the five that lock a key
    #[arg(long)]
    try_credentials: bool,
    #[command(flatten)]
    contract: ContractArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command: problems of the configuration to standard error, findings to standard output. A finding that
/// fails calls is an exit code, and so is a configuration that is not valid.
///
/// # Errors
/// Where the answer cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let valid = match check::read(&args.config, config::load_again, variable, &mut output::stderr())? {
        Ok(valid) => valid,
        Err(code) => return Ok(code),
    };
    let plan = match args.contract.plan(&valid.settings) {
        Ok(plan) => plan,
        Err(problem) => {
            writeln!(output::stderr(), "error: {problem}")?;
            return Ok(ExitCode::from(USAGE));
        }
    };
    let runtime = runtime()?;
    let findings = runtime.block_on(examine(args, &valid, plan));
    // A name that takes for ever to be resolved does not keep this process.
    runtime.shutdown_background();
    let findings = match findings {
        Ok(findings) => findings,
        Err(error) => {
            errors::print_error(&error);
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    let mut out = output::stdout();
    match args.format {
        Format::Text => text(&args.config, &findings, &mut out),
        Format::Json => writeln!(out, "{:#}", document(&args.config, &findings)),
    }
    .context("cannot write the answer")?;
    let failed = count(&findings, CheckStatus::Fail) > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything that is looked at, in the order in which it is told. Endpoints are asked first, because they say what time
/// it is: an agency must not be asked for with a signature that is dated wrongly.
async fn examine(args: &Args, valid: &ValidConfig, plan: Option<Plan>) -> anyhow::Result<Vec<Finding>> {
    let ValidConfig { settings, warnings, proxies } = valid;
    let roots = Roots::new(settings.upstream.ca_file.as_deref())?;
    let (egress, clocks) = (Egress { roots, proxies: proxies.clone() }, Clocks::default());
    let (reached, running) =
        tokio::join!(endpoints::probe(settings, &egress, &clocks), startup::running(settings));
    let (reached, probed) = (reached?, credentials::probe(settings, &egress, &clocks).await?);
    let tried = if args.try_credentials {
        trial::each(settings, &egress, &clocks, &probed).await?
    } else {
        Vec::new()
    };
    let compared = match plan {
        Some(plan) => {
            let ways = CallPath { settings, egress: &egress, clocks: &clocks, probed: &probed };
            contract::compare(plan, ways).await
        }
        None => Vec::new(),
    };
    let mut secrets = warnings.secrets().clone();
    // Those that the environment names are not in the configuration.
    secrets.extend(probed.iter().flat_map(|probed| &probed.files).filter(|path| path.exists()).cloned());
    let named: BTreeSet<PathBuf> =
        warnings.files().iter().chain(&settings.upstream.ca_file).cloned().collect();
    let findings = [
        vec![configuration(&args.config, warnings.count(Severity::Warning))],
        describe(settings, &probed),
        reached.iter().flat_map(ProbedEndpoint::findings).collect(),
        projects(settings, &probed, &reached),
        tried,
        vec![clock(&clocks, &reached)],
        files::look(&named, &secrets),
        startup::look(settings),
        kernel::look(settings, warnings),
        running,
        compared,
    ];
    Ok(findings.into_iter().flatten().collect())
}

fn configuration(path: &Path, warnings: usize) -> Finding {
    let told = if warnings == 0 { String::new() } else { format!(", with {}", counted(warnings, "warning")) };
    let finding = Finding::ok("configuration", path.display().to_string(), format!("is valid{told}"));
    let finding = finding.fact("warnings", warnings);
    match warnings {
        0 => finding,
        _ => finding.warn(format!("read them: mpc-auth-proxy check --config {}", path.display())),
    }
}

fn describe(settings: &Settings, probed: &[ProbedSource]) -> Vec<Finding> {
    let of = |settings: &CredentialSettings| {
        let probed = probed.iter().find(|probed| probed.name() == &*settings.name)?;
        Some(probed.finding(settings))
    };
    settings.credentials.iter().filter_map(of).collect()
}

/// Whether calls of each project would be made.
fn projects(settings: &Settings, probed: &[ProbedSource], reached: &[ProbedEndpoint]) -> Vec<Finding> {
    let finding = |project: &Arc<Project>| {
        let Project { name, id, endpoint, credential, .. } = &**project;
        let entrusted = probed.iter().any(|probed| probed.name() == &**credential && probed.is_ready());
        let answered = reached.iter().any(|reached| reached.endpoint == *endpoint && reached.is_reached());
        let (message, hint) = match (entrusted, answered) {
            (true, true) => ("its calls would be signed and sent", None),
            (false, true) => ("its calls are refused: there is no credential", Some(SEE_CREDENTIAL)),
            (true, false) => ("its calls fail: the endpoint does not answer", Some(SEE_ENDPOINT)),
            (false, false) => ("its calls are refused: no credential, no endpoint", Some(SEE_BOTH)),
        };
        let finding =
            Finding::ok("project", &**name, format!("{message} (credential {credential}, {endpoint})"))
                .fact("id", &**id)
                .fact("endpoint", endpoint.to_string())
                .fact("credential", &**credential)
                .fact("ready", entrusted && answered);
        match hint {
            None => finding,
            Some(hint) => finding.fail(hint),
        }
    };
    settings.projects.iter().map(finding).collect()
}

/// How far this machine's clock is from that of who answered, and is furthest from it.
fn clock(clocks: &Clocks, reached: &[ProbedEndpoint]) -> Finding {
    let clocks = clocks.all();
    let furthest = clocks.iter().max_by_key(|skew| skew.measured().abs());
    let measured = furthest.map_or(TimeDelta::zero(), Skew::measured);
    let direction = if measured > TimeDelta::zero() { "behind" } else { "ahead" };
    let off = format!("its clock is {} {direction}", format_span(measured));
    let finding = |message: String| {
        Finding::ok("clock", "this machine", message).fact("skew_seconds", measured.num_seconds())
    };
    if measured.is_zero() {
        return match reached.iter().any(ProbedEndpoint::told_the_time) {
            true => finding("its clock agrees with the cloud's, within seconds".into()),
            false => {
                finding("nobody who answered said what time it is".into()).warn("make an endpoint answer")
            }
        };
    }
    if measured.abs() < TOLERATED {
        return finding(format!("{off}; signatures are dated by the cloud's"))
            .warn("set it, and keep it right with NTP: the policy's times and tokens of callers go by it");
    }
    finding(format!("{off}; signatures are dated by the cloud's as far as it takes, a day at most"))
        .fail("set it, and keep it right with NTP")
}

fn text(path: &Path, findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let user = files::owner(geteuid().as_raw());
    writeln!(out, "mpc-auth-proxy {} with {}, as {user}\n", env!("CARGO_PKG_VERSION"), path.display())?;
    finding::write(findings, out)?;
    let (warnings, failures) = (count(findings, CheckStatus::Warn), count(findings, CheckStatus::Fail));
    let (warnings, failures) = (counted(warnings, "warning"), counted(failures, "failure"));
    writeln!(out, "\n{}: {warnings}, {failures}", counted(findings.len(), "check"))
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn document(path: &Path, findings: &[Finding]) -> serde_json::Value {
    let [ok, warn, fail] =
        [CheckStatus::Ok, CheckStatus::Warn, CheckStatus::Fail].map(|verdict| count(findings, verdict));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": path.display().to_string(),
        "user": files::owner(geteuid().as_raw()),
        "time": rfc3339(clock::now()),
        "checks": findings,
        "summary": { "ok": ok, "warn": warn, "fail": fail },
    })
}

/// As that of a wrong command line.
const USAGE: u8 = 2;
const SEE_CREDENTIAL: &str = "see what is told of its credential above";
const SEE_ENDPOINT: &str = "see what is told of its endpoint above";
const SEE_BOTH: &str = "see what is told of both above";
