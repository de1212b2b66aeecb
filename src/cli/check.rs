//! `check`: is the configuration valid, and what would run?
//!
//! It reads what `run` reads, in the same way, and binds nothing.

use crate::config::{self, Listener, Loaded, Project, Report, Settings, Severity};
use crate::credential::Source;
use crate::identity::Proof;
use anyhow::Context;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reads the configuration, the policy and every file they name; prints all problems, or what would run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy.yaml to read.
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    pub config: PathBuf,
}

/// Runs the command: problems to standard error, the summary to standard output.
///
/// # Errors
/// Where the answer cannot be written; a configuration that is not valid is an exit code.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    check(&args.config, &mut io::stdout().lock(), &mut io::stderr().lock()).context("cannot write the answer")
}

fn check(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    match config::load(path) {
        Ok(Loaded { settings, warnings }) => {
            problems(&warnings, err)?;
            summary(path, &settings, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            problems(&report, err)?;
            Ok(ExitCode::from(INVALID))
        }
    }
}

fn problems(report: &Report, err: &mut impl Write) -> io::Result<()> {
    if report.problems().is_empty() {
        return Ok(());
    }
    let count = |severity, word| match report.count(severity) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let verdict = if report.has_errors() { "not valid" } else { "valid" };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    writeln!(err, "{report}\n{errors}, {warnings}: the configuration is {verdict}")
}

fn summary(path: &Path, settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} is valid. This would run:", path.display())?;
    writeln!(out, "\nlisteners")?;
    for listener in &settings.listeners {
        writeln!(out, "  {} on {}", listener.name, listener.bind)?;
        for (caller, proof) in settings.callers.proofs() {
            if let Some(proof) = proof_on(listener, proof) {
                writeln!(out, "    {caller}, by {proof}")?;
            }
        }
    }
    if let Some(ops) = settings.ops {
        writeln!(out, "  health and metrics on {ops}")?;
    }
    writeln!(out, "\nprojects")?;
    for project in &settings.projects {
        write_project(project, settings, out)?;
    }
    writeln!(out, "\ncallers, under policy {}", settings.policy.hash())?;
    for caller in settings.callers.ids() {
        writeln!(out, "  {caller}")?;
        let rules = settings.policy.rules().iter();
        for rule in rules.filter(|rule| rule.callers.iter().any(|glob| glob.is_match(caller.as_str()))) {
            writeln!(out, "    {} by {} ({})", rule.effect.as_str(), rule.id, rule.location)?;
        }
    }
    Ok(())
}

fn write_project(project: &Project, settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    let Project { name, id, endpoint, credential, .. } = project;
    let scheme = if endpoint.tls() { "https" } else { "http" };
    writeln!(out, "  {name} ({id}) at {scheme}://{}", endpoint.authority())?;
    let source = settings.credentials.iter().find(|c| c.name == *credential).map(|c| spell(&c.source));
    writeln!(out, "    with {credential}: {}", source.unwrap_or_default())
}

/// How the proof is given on this listener. `None` where it cannot be.
fn proof_on(listener: &Listener, proof: &Proof) -> Option<String> {
    let local = matches!(listener.bind, config::Bind::Unix { .. });
    match proof {
        Proof::Listener(name) => (*name == listener.name).then(|| "reaching it".into()),
        Proof::Unix { uid, gid } if local => {
            let user = uid.map(|uid| format!("user id {uid}"));
            let group = gid.map(|gid| format!("group id {gid}"));
            Some([user, group].into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Proof::Bearer(_) if listener.bearer => Some("a bearer token".into()),
        Proof::Unix { .. } | Proof::Bearer(_) => None,
    }
}

fn spell(source: &Source) -> String {
    match source {
        Source::Environment => "keys from the environment".into(),
        Source::Files { access_key, secret_key, .. } => {
            format!("keys from {} and {}", access_key.display(), secret_key.display())
        }
        Source::TokenFile { path } => format!("the token in {}", path.display()),
    }
}

/// The exit code for a configuration that is not valid: `EX_CONFIG` of sysexits.
const INVALID: u8 = 78;
