//! Loads configurations that are valid in this environment.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use crate::{
    cli::{exit, output::counted},
    config::{Loaded, Report, Settings, Severity},
    upstream::{EXEMPTIONS, Endpoint, Proxies},
};

/// A configuration that is valid in this environment.
pub(in crate::cli) struct ValidConfig {
    pub(in crate::cli) settings: Settings,
    pub(in crate::cli) warnings: Report,
    pub(in crate::cli) proxies: Proxies,
}

/// A function that loads a configuration.
pub(in crate::cli) type Load = fn(&Path) -> Result<Loaded, Report>;

/// Reads the configuration. If it or the environment is invalid, prints why and returns the exit code.
pub(in crate::cli) fn read(
    path: &Path,
    load: Load,
    variable: impl Fn(&str) -> Option<String>,
    err: &mut impl Write,
) -> io::Result<Result<ValidConfig, ExitCode>> {
    let invalid = Ok(Err(ExitCode::from(exit::CONFIG)));
    let Loaded { settings, warnings, .. } = match load(path) {
        Ok(loaded) => loaded,
        Err(report) => {
            problems(&report, err)?;
            return invalid;
        }
    };
    let proxies = Proxies::new(settings.upstream.proxy.as_ref(), variable);
    if let Some(error) = endpoints(&settings).find_map(|endpoint| proxies.to(endpoint).err()) {
        problems(&warnings, err)?;
        writeln!(err, "error: {error}\n\n1 error: the configuration is valid, this environment is not")?;
        return invalid;
    }
    for entry in proxies.odd_exemptions() {
        writeln!(err, "warning: NO_PROXY entry `{entry}` has no effect: {EXEMPTIONS}")?;
    }
    Ok(Ok(ValidConfig { settings, warnings, proxies }))
}

pub(super) fn problems(report: &Report, err: &mut impl Write) -> io::Result<()> {
    if report.problems().is_empty() {
        return Ok(());
    }
    let count = |severity, word| counted(report.count(severity), word);
    let verdict = if report.has_errors() { "not valid" } else { "valid" };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    writeln!(err, "{report}\n{errors}, {warnings}: the configuration is {verdict}")
}

/// Returns all endpoints that the proxy connects to.
pub(super) fn endpoints(settings: &Settings) -> impl Iterator<Item = &Endpoint> {
    let sources = settings.credentials.iter().filter_map(|credential| credential.source.endpoint());
    settings.projects.iter().map(|project| &project.endpoint).chain(sources)
}
