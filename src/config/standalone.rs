//! Reads parts of the files: a policy by itself, or only the addresses of a running proxy.
//!
//! For a policy only names are read of everything else: of its callers, and of the projects in `proxy.yaml`. No secret file
//! needs to exist, so this works in a pipeline without secrets.

use super::declare::Section;
use super::project::RawProject;
use super::proxy::RawProxy;
use super::settings::Addresses;
use super::source_file::{KeyScope, SourceFile};
use super::yaml::Node;
use super::{LogFormat, Report, policy, rules};
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
    /// Whether the projects come from a `proxy.yaml`.
    pub named: bool,
}

/// Reads `policy.yaml` with the projects of `proxy_yaml`, by default of the `proxy.yaml` beside it, or else with `others`.
///
/// # Errors
/// All problems of both files.
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
    let alone = read_part(policy_yaml, RULES, &mut report, |source, root| {
        let parsed = policy::read(source, root)?;
        let names = projects.iter().flat_map(|project| [&*project.name, &*project.id]);
        // Projects seen only in calls are not complete, so a rule may name others.
        let known = names.filter(|_| named.is_some()).collect();
        let known = rules::KnownNames { projects: known, scopes: &projects, ..Default::default() };
        rules::names(source, &parsed, &known);
        let policy = parsed.compile(source, &projects);
        rules::findings(source, &policy, &parsed, clock::now());
        let callers = parsed.callers.iter().map(|caller| caller.id.value.clone()).collect();
        Some(StandalonePolicy { policy, callers, projects: projects.clone(), named: named.is_some() })
    });
    report.unless_errors(alone)
}

/// Reads only the names and ids of the projects in `proxy.yaml`.
///
/// # Errors
/// All problems of that part.
pub fn projects(proxy_yaml: &Path) -> Result<Vec<Scope>, Report> {
    let mut report = Report::default();
    let scopes = scopes(proxy_yaml, &mut report);
    report.unless_errors(scopes)
}

/// Reads only the addresses of the proxy. The rest may be invalid, which may be the very reason to ask the proxy.
///
/// # Errors
/// All problems of that part.
pub fn addresses(proxy_yaml: &Path) -> Result<Addresses, Report> {
    let mut report = Report::default();
    let proxy = read_part(proxy_yaml, ADDRESSES, &mut report, |source, root| RawProxy::read(source, &root));
    let RawProxy { ops, admin, .. } = report.unless_errors(proxy)?;
    Ok(Addresses { ops: ops.map(|ops| ops.value), admin })
}

/// Reads only the log format, for reporting that the rest is invalid. `None` if unreadable.
pub fn log_format(proxy_yaml: &Path) -> Option<LogFormat> {
    let mut report = Report::default();
    let log = read_part(proxy_yaml, LOG, &mut report, |source, root| RawProxy::read(source, &root));
    Some(report.unless_errors(log).ok()?.log.format)
}

fn beside(policy_yaml: &Path) -> Option<PathBuf> {
    let path = policy_yaml.with_file_name("proxy.yaml");
    path.is_file().then_some(path)
}

fn scopes(proxy_yaml: &Path, report: &mut Report) -> Option<Vec<Scope>> {
    let proxy = read_part(proxy_yaml, SCOPES, report, |source, root| RawProxy::read(source, &root))?;
    Some(proxy.projects.iter().filter_map(RawProject::scope).collect())
}

fn read_part<T>(
    path: &Path,
    part: KeyScope,
    report: &mut Report,
    read: impl FnOnce(&SourceFile, Node<'_>) -> Option<T>,
) -> Option<T> {
    let source = SourceFile::open(path).read_for(part);
    let value = source.parse().and_then(|root| read(&source, root));
    report.append(source.close());
    value
}

/// Of callers only the names: the files that identify them may not be there.
const RULES: KeyScope = &[("a caller", &[])];
const LOG: KeyScope = &[("proxy.yaml", &["log"])];
const ADDRESSES: KeyScope = &[("proxy.yaml", &["ops", "admin"])];
const SCOPES: KeyScope = &[("proxy.yaml", &["projects"]), ("a project", &["name", "id"])];
