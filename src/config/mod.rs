//! Configuration: from files as written to settings. `proxy.yaml`, `policy.yaml` and the files they name become
//! [`Settings`], or a [`Report`] of everything that is wrong with them.
//!
//! It stands after the domain, whose types settings are made of, and before everything that runs. Text becomes a
//! tree with places (`yaml`), the tree becomes what was written (`proxy`, `policy`), names are looked up (`link`),
//! and only what passed all of it becomes settings. It opens no socket and changes nothing.

mod standalone;
mod ambiguity;
mod cases;
mod cloud;
mod condition;
mod redact;
mod credentials;
mod declare;
mod decode;
mod facts;
mod files;
mod resolve;
mod listener;
mod source_file;
mod paths;
mod policy;
mod project;
mod proof;
mod proxy;
mod rate;
mod report;
mod rules;
mod scalar;
mod schema;
mod sections;
mod settings;
mod sources;
mod tls;
mod upstream;
mod yaml;

pub use cases::{Case, CaseFile, Expected, cases};
pub use files::{is_exposed, reason};
pub use project::{LookupForm, Project, ProjectHeader};
pub use report::{Position, Problem, Report, Severity};
pub use scalar::{format_duration, format_size};
pub use schema::{File, schema};
pub use sections::{AuditSettings, Drain, Limits, LogFormat, LogSettings};
pub use settings::*;
pub use standalone::{Addresses, StandalonePolicy, addresses, log_format, policy_alone, projects};
pub use upstream::{BreakerSettings, Retries, Stale, UpstreamSettings};

use crate::clock;
use crate::identity::{CallerId, Callers, Proof};
use crate::policy::{Policy, Scope};
use crate::watch::Snapshot;
use chrono::{DateTime, Utc};
use project::RawProject;
use proxy::RawProxy;
use sha2::{Digest, Sha256};
use source_file::{Located, SourceFile};
use std::path::Path;
use std::sync::Arc;

/// What could be loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What the files say.
    pub settings: Settings,
    /// What is hardly meant, but does not keep the proxy from starting.
    pub warnings: Report,
    /// The files that decided it, as they were just after they had been read.
    pub snapshot: Snapshot,
}

/// Reads `proxy.yaml`, the policy, and every file the two name.
///
/// # Errors
/// All problems of all files, in their order, warnings among them.
pub fn load(proxy_yaml: &Path) -> Result<Loaded, Report> {
    load_at(proxy_yaml, LoadPhase { now: clock::now(), reload: false })
}

/// The same while the proxy runs: a key file that holds no key is a warning, because the last good key stays in force.
///
/// # Errors
/// As of [`load`].
pub fn load_again(proxy_yaml: &Path) -> Result<Loaded, Report> {
    load_at(proxy_yaml, LoadPhase { now: clock::now(), reload: true })
}

/// When it is loaded.
#[derive(Clone, Copy)]
struct LoadPhase {
    /// It matters for rules that end.
    now: DateTime<Utc>,
    reload: bool,
}

fn load_at(proxy_yaml: &Path, phase: LoadPhase) -> Result<Loaded, Report> {
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
    let source = SourceFile::open(path)
        .unwrap_or_else(|error| SourceFile::unreadable(path, &error))
        .read_again(reload);
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
            let compiled = compile(policy_source, policy, &parsed.scopes());
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
    source.close(report);
    if let Some((policy_source, _)) = policy {
        policy_source.close(report);
    }
    settings
}

fn open_policy(source: &SourceFile, parsed: &proxy::ParsedProxy) -> Option<SourceFile> {
    let name = parsed.keys.policy.as_ref()?;
    let path = source.resolve(&name.value);
    source.depends_on(&path);
    SourceFile::open(&path)
        .map_err(|error| {
            let message = format!("cannot read {}: {}", path.display(), reason(&error));
            source.error(name.place, message, source.where_files_are());
        })
        .ok()
}

/// The policy, of the rules that could be read.
fn compile(source: &SourceFile, parsed: &policy::ParsedPolicy, projects: &[Scope]) -> Policy {
    let file = source.name();
    let rules = parsed.rules.iter().filter_map(|rule| rule.value.resolve(rule.place, &file));
    let callers: Vec<CallerId> = parsed.callers.iter().map(|caller| caller.id.value.clone()).collect();
    let mut hash = hex::encode(Sha256::digest(source.text()));
    hash.truncate(HASH_LENGTH);
    let mode = parsed.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
    Policy::new(rules.collect(), &callers, projects, &hash).in_mode(mode)
}

/// What was written, where all of it could be read.
fn settings(proxy: proxy::ParsedProxy, parsed: &policy::ParsedPolicy, policy: Policy) -> Option<Settings> {
    let credentials = proxy
        .credentials
        .into_iter()
        .map(|found| Some(CredentialSettings { name: found.name.value, source: found.source? }));
    let caller = |caller: &policy::ParsedCaller| {
        (caller.id.value.clone(), caller.identify.iter().map(|proof| proof.value.clone()).collect())
    };
    let project = |project: &RawProject| project.resolve().map(Arc::new);
    let RawProxy { version, listeners, ops, admin, freeze_file, projects, .. } = proxy.keys;
    let RawProxy { upstream, limits, drain, audit, log, .. } = proxy.keys;
    version?;
    Some(Settings {
        listeners: listeners.iter().map(|listener| resolve(listener, parsed)).collect::<Option<_>>()?,
        tls: listeners.iter().filter_map(listener::ParsedListener::tls).collect(),
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

/// A listener. Where its TLS proves nothing and a caller is who reaches it, only this machine may.
fn resolve(listener: &listener::ParsedListener, policy: &policy::ParsedPolicy) -> Option<Listener> {
    let meant = listener.resolve()?;
    let names_it =
        |proof: &Located<Proof>| matches!(&proof.value, Proof::Listener(name) if *name == meant.name);
    let enough = policy.callers.iter().flat_map(|caller| &caller.identify).any(names_it);
    let may_be_remote = meant.may_be_remote && !(enough && listener.proves_nothing());
    Some(Listener { may_be_remote, ..meant })
}

/// How much of the policy's SHA-256 names it, in hexadecimal digits.
const HASH_LENGTH: usize = 16;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;
