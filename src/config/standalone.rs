//! A policy without a proxy to run it, and the addresses of a running proxy. For tests of policies, for trying out new
//! ones, and for asking one that runs.
//!
//! Only names are read of everything else: the callers' in the policy, the projects' in `proxy.yaml`. No file
//! that holds a secret or a proof needs to be there, so this works in a pipeline that has none.

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
    let alone = read_part(policy_yaml, RULES, &mut report, |source, root| {
        let parsed = policy::read(source, root)?;
        let names = projects.iter().flat_map(|project| [&*project.name, &*project.id]);
        // Projects that only calls were seen of are not all there are: then a rule may name any.
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

/// The names and ids of the projects in `proxy.yaml`, and nothing else of it.
///
/// # Errors
/// All problems of that.
pub fn projects(proxy_yaml: &Path) -> Result<Vec<Scope>, Report> {
    let mut report = Report::default();
    let scopes = scopes(proxy_yaml, &mut report);
    report.unless_errors(scopes)
}

/// Where the proxy of this `proxy.yaml` answers. Nothing else of it needs to be right: whoever asks may do so because
/// it is not.
///
/// # Errors
/// All problems of that.
pub fn addresses(proxy_yaml: &Path) -> Result<Addresses, Report> {
    let mut report = Report::default();
    let proxy = read_part(proxy_yaml, ADDRESSES, &mut report, |source, root| RawProxy::read(source, &root));
    let RawProxy { ops, admin, .. } = report.unless_errors(proxy)?;
    Ok(Addresses { ops: ops.map(|ops| ops.value), admin })
}

/// In which format the proxy of this `proxy.yaml` logs: whoever has to tell that the rest of it is wrong wants to know.
/// `None` where that cannot be read.
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

/// Reads a part of a file.
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

/// Of the callers the names: how they prove themselves, and the files that takes, is left to whoever runs the proxy.
const RULES: KeyScope = &[("a caller", &[])];
const LOG: KeyScope = &[("proxy.yaml", &["log"])];
const ADDRESSES: KeyScope = &[("proxy.yaml", &["ops", "admin"])];
const SCOPES: KeyScope = &[("proxy.yaml", &["projects"]), ("a project", &["name", "id"])];
