//! The report of the findings, as text and as JSON.

use std::{
    io::{self, Write},
    path::Path,
};

use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::{
    files,
    finding::{self, CheckStatus, Finding, count, rfc3339},
};
use crate::{cli::output::counted, clock};

pub(super) fn text(path: &Path, findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let user = files::owner(geteuid().as_raw());
    writeln!(out, "mpc-auth-proxy {} with {}, as {user}\n", env!("CARGO_PKG_VERSION"), path.display())?;
    finding::write(findings, out)?;
    let (warnings, failures) = (count(findings, CheckStatus::Warn), count(findings, CheckStatus::Fail));
    let (warnings, failures) = (counted(warnings, "warning"), counted(failures, "failure"));
    writeln!(out, "\n{}: {warnings}, {failures}", counted(findings.len(), "check"))
}

pub(super) fn document(path: &Path, findings: &[Finding]) -> Value {
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
