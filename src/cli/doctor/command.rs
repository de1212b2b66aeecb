//! Runs `doctor`.

use std::{
    io::{self, Write},
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::{
    contract::ContractArgs,
    examination::examine,
    files,
    finding::{self, CheckStatus, Finding, count, rfc3339},
    startup,
};
use crate::{
    cli::{
        check, errors, exit,
        output::{self, Format, counted},
        start::runtime,
    },
    clock,
    config::{self, Addresses},
    upstream::variable,
};

/// Test everything the proxy depends on: credential sources, endpoints, files, the clock.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Also send one harmless signed call for each project, a view of a job that cannot exist, through the running proxy if
    /// there is one. A bad signature counts towards the five that lock a key
    #[arg(long)]
    try_credentials: bool,
    #[command(flatten)]
    contract: ContractArgs,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command: configuration problems to standard error, findings to standard output. Failing findings and an invalid
/// configuration have exit codes.
pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let valid = match check::read(&args.config, config::load_again, variable, &mut output::stderr())? {
        Ok(valid) => valid,
        Err(code) => {
            show_running(args)?;
            return Ok(code);
        }
    };
    let plan = match args.contract.plan(&valid.settings) {
        Ok(plan) => plan,
        Err(problem) => {
            writeln!(output::stderr(), "error: {problem}")?;
            return Ok(ExitCode::from(USAGE));
        }
    };
    let runtime = runtime()?;
    let findings = runtime.block_on(examine(&args.config, &valid, args.try_credentials, plan));
    // Do not wait for a name that never resolves.
    runtime.shutdown_background();
    let findings = match findings {
        Ok(findings) => findings,
        Err(error) => {
            errors::print_error(&error);
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    print(args, &findings)?;
    let failed = count(&findings, CheckStatus::Fail) > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shows the state of a running proxy whose configuration files are no longer valid: it may have other problems, too.
fn show_running(args: &Args) -> anyhow::Result<()> {
    let Ok(Addresses { ops, admin }) = config::addresses(&args.config) else { return Ok(()) };
    let runtime = runtime()?;
    let running = runtime.block_on(startup::running(ops.as_ref(), admin.as_ref()));
    if !running.iter().any(Finding::is_in_use) {
        return Ok(());
    }
    let invalid = Finding::ok("configuration", args.config.display().to_string(), "is not valid");
    let invalid = invalid.fail("mend what standard error says of it");
    print(args, &iter::once(invalid).chain(running).collect::<Vec<_>>())
}

fn print(args: &Args, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    match args.format {
        Format::Text => text(&args.config, findings, &mut out),
        Format::Json => writeln!(out, "{:#}", document(&args.config, findings)),
    }
    .context("cannot write the answer")
}

fn text(path: &Path, findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let user = files::owner(geteuid().as_raw());
    writeln!(out, "mpc-auth-proxy {} with {}, as {user}\n", env!("CARGO_PKG_VERSION"), path.display())?;
    finding::write(findings, out)?;
    let (warnings, failures) = (count(findings, CheckStatus::Warn), count(findings, CheckStatus::Fail));
    let (warnings, failures) = (counted(warnings, "warning"), counted(failures, "failure"));
    writeln!(out, "\n{}: {warnings}, {failures}", counted(findings.len(), "check"))
}

fn document(path: &Path, findings: &[Finding]) -> Value {
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

/// The exit code of an invalid command line.
const USAGE: u8 = 2;
