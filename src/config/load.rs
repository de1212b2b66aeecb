//! Loads both files and everything they name.

use super::listener::RawListener;
use super::policy::{self, ParsedCaller, ParsedPolicy};
use super::project::RawProject;
use super::proxy::{self, ParsedProxy, RawProxy};
use super::source_file::{Located, SourceFile, reason};
use super::{CredentialSettings, Report, Settings, paths, resolve, rules};
use crate::clock;
use crate::identity::{Callers, Proof};
use crate::policy::Policy;
use crate::watch::Snapshot;
use chrono::{DateTime, Utc};
use std::path::Path;
use std::sync::Arc;

/// A loaded configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Likely mistakes that do not prevent the start.
    pub warnings: Report,
    /// The state of the files just after they were read.
    pub snapshot: Snapshot,
}

/// Reads `proxy.yaml`, the policy, and every file the two name.
///
/// # Errors
/// All problems of all files in order, including warnings.
pub fn load(proxy_yaml: &Path) -> Result<Loaded, Report> {
    load_at(proxy_yaml, LoadPhase { now: clock::now(), reload: false })
}

/// Loads the files again while the proxy runs. A key file without a key is only a warning then, because the last good key
/// stays in force.
///
/// # Errors
/// See [`load`].
pub fn load_again(proxy_yaml: &Path) -> Result<Loaded, Report> {
    load_at(proxy_yaml, LoadPhase { now: clock::now(), reload: true })
}

#[derive(Clone, Copy)]
pub(super) struct LoadPhase {
    /// The current time, for rules that expire.
    pub(super) now: DateTime<Utc>,
    pub(super) reload: bool,
}

pub(super) fn load_at(proxy_yaml: &Path, phase: LoadPhase) -> Result<Loaded, Report> {
    let mut report = Report::default();
    match read(proxy_yaml, phase, &mut report) {
        Some(settings) if !report.has_errors() => {
            let snapshot = Snapshot::at(report.files());
            Ok(Loaded { settings, warnings: report, snapshot })
        }
        _ => Err(report),
    }
}

fn read(path: &Path, LoadPhase { now, reload }: LoadPhase, report: &mut Report) -> Option<Settings> {
    let source = SourceFile::open(path).read_again(reload);
    let root = source.parse();
    let parsed = root.as_ref().and_then(|root| proxy::read(&source, root)).unwrap_or_default();
    resolve::proxy(&source, &parsed);
    let policy = open_policy(&source, &parsed).map(|source| {
        let parsed = source.parse().and_then(|root| policy::read(&source, root));
        (source, parsed)
    });
    if let Some(root) = &root {
        paths::check_unique(&source, policy.as_ref().map(|(source, _)| source), root, &parsed);
    }
    let settings = match &policy {
        Some((policy_source, Some(policy))) => {
            resolve::policy(policy_source, policy, &parsed);
            let compiled = policy.compile(policy_source, &parsed.scopes());
            rules::mode(policy_source, policy);
            rules::findings(policy_source, &compiled, policy, now);
            if source.has_errors() || policy_source.has_errors() {
                None
            } else {
                resolve::identification(&source, &parsed, policy_source, policy);
                settings(parsed, policy, compiled)
            }
        }
        _ => None,
    };
    report.append(source.close());
    if let Some((policy_source, _)) = policy {
        report.append(policy_source.close());
    }
    settings
}

fn open_policy(source: &SourceFile, parsed: &ParsedProxy) -> Option<SourceFile> {
    let name = parsed.keys.policy.as_ref()?;
    let path = source.resolve(&name.value);
    source.depends_on(&path);
    SourceFile::try_open(&path)
        .map_err(|error| {
            let message = format!("cannot read {}: {}", path.display(), reason(&error));
            source.error(name.place, message, source.where_files_are());
        })
        .ok()
}

/// Assembles the settings, if everything could be read.
fn settings(proxy: ParsedProxy, parsed: &ParsedPolicy, policy: Policy) -> Option<Settings> {
    let credentials = proxy
        .credentials
        .into_iter()
        .map(|found| Some(CredentialSettings { name: found.name.value, source: found.source? }));
    let caller = |caller: &ParsedCaller| {
        (caller.id.value.clone(), caller.identify.iter().map(|proof| proof.value.clone()).collect())
    };
    let listener = |listener: &RawListener| {
        let names_it =
            |proof: &Located<Proof>| matches!(&proof.value, Proof::Listener(name) if listener.is_named(name));
        listener.resolve(parsed.proofs().any(names_it))
    };
    let project = |project: &RawProject| project.resolve().map(Arc::new);
    let RawProxy { version, listeners, ops, admin, freeze_file, projects, .. } = proxy.keys;
    let RawProxy { upstream, limits, drain, audit, log, .. } = proxy.keys;
    version?;
    Some(Settings {
        listeners: listeners.iter().map(listener).collect::<Option<_>>()?,
        tls: listeners.iter().filter_map(RawListener::tls).collect(),
        ops: ops.map(|ops| ops.value),
        admin,
        freeze_file,
        projects: projects.iter().map(project).collect::<Option<_>>()?,
        credentials: credentials.collect::<Option<_>>()?,
        callers: Callers::new(parsed.callers.iter().map(caller).collect()),
        caller_limits: parsed.callers.iter().map(|c| (c.id.value.clone(), c.limits.clone())).collect(),
        policy,
        upstream,
        limits,
        drain,
        audit,
        log,
    })
}
