//! A policy without a proxy to run it, and the addresses of a running proxy. For tests of policies, for trying out new
//! ones, and for asking one that runs.
//!
//! Only names are read of everything else: the callers' in the policy, the projects' in `proxy.yaml`. No file
//! that holds a secret or a proof needs to be there, so this works in a pipeline that has none.

use super::compile::compile;
use super::settings::Addresses;
use super::source_file::SourceFile;
use super::{LogFormat, Report, policy, proxy, rules};
use crate::clock;
use crate::identity::CallerId;
use crate::policy::{Policy, Scope};
use std::path::{Path, PathBuf};

/// A policy by itself.
#[derive(Debug)]
pub struct StandalonePolicy {
    /// The rules, compiled.
    pub policy: Policy,
    /// The names of its callers.
    pub callers: Vec<CallerId>,
    /// The projects it was compiled for.
    pub projects: Vec<Scope>,
    /// Whether the projects are those of a `proxy.yaml`.
    pub named: bool,
}

/// Reads `policy.yaml` for the projects of `proxy_yaml`; where none is given, of the `proxy.yaml` beside it; where
/// there is none either, for `others`.
///
/// # Errors
/// All problems of the two files.
pub fn policy_alone(
    policy_yaml: &Path,
    proxy_yaml: Option<&Path>,
    others: impl FnOnce() -> Vec<Scope>,
) -> Result<StandalonePolicy, Report> {
    let mut report = Report::default();
    let named = proxy_yaml.map(Path::to_path_buf).or_else(|| beside(policy_yaml));
    let projects = match &named {
        Some(proxy_yaml) => scopes(proxy_yaml, &mut report).unwrap_or_default(),
        None => others(),
    };
    let source =
        SourceFile::open(policy_yaml).unwrap_or_else(|error| SourceFile::unreadable(policy_yaml, &error));
    let source = source.read_for(policy::RULES);
    let alone = source.parse().and_then(|root| policy::read(&source, root)).map(|parsed| {
        let names = projects.iter().flat_map(|project| [&*project.name, &*project.id]);
        // Projects that only calls were seen of are not all there are: then a rule may name any.
        let known: Vec<&str> = names.filter(|_| named.is_some()).collect();
        let known = rules::KnownNames { projects: &known, scopes: &projects, listeners: &[], by_v2: &[] };
        rules::names(&source, &parsed, &known);
        let policy = compile(&source, &parsed, &projects);
        rules::findings(&source, &policy, &parsed, clock::now());
        let callers = parsed.callers.iter().map(|caller| caller.id.value.clone()).collect();
        StandalonePolicy { policy, callers, projects, named: named.is_some() }
    });
    source.close(&mut report);
    alone.filter(|_| !report.has_errors()).ok_or(report)
}

/// The names and ids of the projects in `proxy.yaml`, and nothing else of it.
///
/// # Errors
/// All problems of that.
pub fn projects(proxy_yaml: &Path) -> Result<Vec<Scope>, Report> {
    let mut report = Report::default();
    let scopes = scopes(proxy_yaml, &mut report);
    scopes.filter(|_| !report.has_errors()).ok_or(report)
}

/// Where the proxy of this `proxy.yaml` answers. Nothing else of it needs to be right: whoever asks may do so because
/// it is not.
///
/// # Errors
/// All problems of that.
pub fn addresses(proxy_yaml: &Path) -> Result<Addresses, Report> {
    let mut report = Report::default();
    let source =
        SourceFile::open(proxy_yaml).unwrap_or_else(|error| SourceFile::unreadable(proxy_yaml, &error));
    let source = source.read_for(proxy::ADDRESSES);
    let addresses = source.parse().and_then(|root| proxy::read_addresses(&source, &root));
    source.close(&mut report);
    addresses.filter(|_| !report.has_errors()).ok_or(report)
}

/// In which format the proxy of this `proxy.yaml` logs: whoever has to tell that the rest of it is wrong wants to know.
/// `None` where that cannot be read.
pub fn log_format(proxy_yaml: &Path) -> Option<LogFormat> {
    let source = SourceFile::open(proxy_yaml).ok()?.read_for(proxy::LOG);
    let log = source.parse().and_then(|root| proxy::read_log(&source, &root));
    let mut report = Report::default();
    source.close(&mut report);
    log.filter(|_| !report.has_errors()).map(|log| log.format)
}

fn beside(policy_yaml: &Path) -> Option<PathBuf> {
    let path = policy_yaml.with_file_name("proxy.yaml");
    path.is_file().then_some(path)
}

fn scopes(proxy_yaml: &Path, report: &mut Report) -> Option<Vec<Scope>> {
    let source =
        SourceFile::open(proxy_yaml).unwrap_or_else(|error| SourceFile::unreadable(proxy_yaml, &error));
    let source = source.read_for(proxy::SCOPES);
    let scopes = source.parse().and_then(|root| proxy::read_scopes(&source, &root));
    source.close(report);
    scopes
}
