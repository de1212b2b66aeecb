//! Runs all checks of `doctor`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    contract::{self, Plan},
    credentials::{self, ProbedSource},
    endpoints::{self, ProbedEndpoint},
    files,
    finding::Finding,
    projects::{self, CallPath},
    startup, trial,
};
use crate::{
    cli::{check::ValidConfig, output::counted},
    clock::Clocks,
    config::{CredentialSettings, Settings, Severity},
    upstream::{Egress, Roots},
};

/// Runs all checks, and returns their findings in reporting order. Endpoints are asked first, because they tell the time: an
/// agency must not be requested with a wrongly dated signature.
pub(super) async fn examine(
    config: &Path,
    valid: &ValidConfig,
    try_credentials: bool,
    plan: Option<Plan>,
) -> anyhow::Result<Vec<Finding>> {
    let ValidConfig { settings, warnings, proxies } = valid;
    let roots = Roots::new(settings.upstream.ca_file.as_deref())?;
    let (egress, clocks) = (Egress { roots, proxies: proxies.clone() }, Clocks::default());
    let (reached, running) = tokio::join!(
        endpoints::probe(settings, &egress, &clocks),
        startup::running(settings.ops.as_ref(), settings.admin.as_ref())
    );
    let (reached, probed) = (reached?, credentials::probe(settings, &egress, &clocks).await?);
    let path = CallPath { settings, egress: &egress, clocks: &clocks, probed: &probed };
    let tried = if try_credentials { trial::each(path).await? } else { Vec::new() };
    let compared = match plan {
        Some(plan) => contract::compare(plan, path).await,
        None => Vec::new(),
    };
    let mut secrets = warnings.secrets().clone();
    // Files that the environment names are not in the configuration.
    secrets.extend(probed.iter().flat_map(|probed| &probed.files).filter(|path| path.exists()).cloned());
    let named: BTreeSet<PathBuf> =
        warnings.files().iter().chain(&settings.upstream.ca_file).cloned().collect();
    let findings = [
        vec![configuration(config, warnings.count(Severity::Warning))],
        describe(settings, &probed),
        reached.iter().flat_map(ProbedEndpoint::findings).collect(),
        projects::look(path, &reached),
        tried,
        vec![endpoints::clock(&clocks, &reached)],
        files::look(&named, &secrets),
        startup::look(settings, warnings),
        running,
        compared,
    ];
    Ok(findings.into_iter().flatten().collect())
}

fn configuration(path: &Path, warnings: usize) -> Finding {
    let told = if warnings == 0 { String::new() } else { format!(", with {}", counted(warnings, "warning")) };
    let hint = format!("read them: mpc-auth-proxy check --config {}", path.display());
    Finding::ok("configuration", path.display().to_string(), format!("is valid{told}"))
        .fact("warnings", warnings)
        .warn_if(warnings > 0, hint)
}

fn describe(settings: &Settings, probed: &[ProbedSource]) -> Vec<Finding> {
    let of = |settings: &CredentialSettings| {
        Some(probed.iter().find(|probed| probed.name() == &*settings.name)?.finding(settings))
    };
    settings.credentials.iter().filter_map(of).collect()
}
