//! What did the user write, and what does it mean? `proxy.yaml`, `policy.yaml` and the files they name become
//! [`Settings`], or a [`Report`] of everything that is wrong with them.
//!
//! It stands after the domain, whose types settings are made of, and before everything that runs. Text becomes a
//! tree with places (`yaml`), the tree becomes what was written (`proxy`, `policy`), names are looked up (`link`),
//! and only what passed all of it becomes settings. It opens no socket and changes nothing.

mod cover;
mod credentials;
mod decode;
mod files;
mod link;
mod listener;
mod page;
mod policy;
mod proxy;
mod report;
mod scalar;
mod settings;
mod yaml;

pub use report::{Place, Problem, Report, Severity};
pub use settings::*;

use crate::identity::{CallerId, Callers};
use crate::policy::{Policy, Problem as Finding, Rule, Scope};
use page::Page;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// What could be loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What the files say.
    pub settings: Settings,
    /// What is hardly meant, but does not keep the proxy from starting.
    pub warnings: Report,
}

/// Reads `proxy.yaml`, the policy, and every file the two name.
///
/// # Errors
/// All problems of all files, in their order, warnings among them.
pub fn load(proxy_yaml: &Path) -> Result<Loaded, Report> {
    let mut report = Report::default();
    match read(proxy_yaml, &mut report) {
        Some(settings) if !report.has_errors() => Ok(Loaded { settings, warnings: report }),
        _ => Err(report),
    }
}

fn read(path: &Path, report: &mut Report) -> Option<Settings> {
    let page = Page::open(path).unwrap_or_else(|error| Page::unreadable(path, &error));
    let written = page.parse().and_then(|root| proxy::read(&page, &root)).unwrap_or_default();
    link::proxy(&page, &written);
    let policy = open_policy(&page, &written).map(|page| {
        let written = page.parse().and_then(|root| policy::read(&page, &root));
        (page, written)
    });
    let settings = match &policy {
        Some((policy_page, Some(policy))) => {
            link::policy(policy_page, policy, &written);
            if !policy_page.has_errors() {
                link::unreachable(&page, &written, policy);
            }
            settings(&written, policy, policy_page)
        }
        _ => None,
    };
    page.close(report);
    if let Some((policy_page, _)) = policy {
        policy_page.close(report);
    }
    settings
}

fn open_policy(page: &Page, written: &proxy::Written) -> Option<Page> {
    let name = written.policy.as_ref()?;
    let path = page.resolve(&name.value);
    Page::open(&path)
        .map_err(|error| {
            let message = format!("{} cannot be read: {}", path.display(), files::reason(&error));
            page.error(name.place, message, page.where_files_are());
        })
        .ok()
}

/// What was written, where all of it could be read.
fn settings(proxy: &proxy::Written, policy: &policy::Written, page: &Page) -> Option<Settings> {
    let listeners: Option<Vec<Listener>> = proxy.listeners.iter().map(listener::Written::meaning).collect();
    let projects: Option<Vec<Project>> = proxy.projects.iter().map(proxy::ProjectWritten::meaning).collect();
    let projects = projects?;
    let credentials = proxy.credentials.iter().map(|credential| {
        Some(CredentialSettings { name: credential.name.value.clone(), source: credential.source.clone()? })
    });
    let proofs =
        |caller: &policy::CallerWritten| caller.identify.iter().map(|proof| proof.value.clone()).collect();
    let callers = policy.callers.iter().map(|caller| (caller.id.value.clone(), proofs(caller)));
    Some(Settings {
        listeners: listeners?,
        ops: proxy.ops.as_ref().map(|ops| ops.value),
        credentials: credentials.collect::<Option<_>>()?,
        callers: Callers::new(callers.collect()),
        policy: compile(policy, &projects, page)?,
        projects: projects.into_iter().map(Arc::new).collect(),
        upstream: proxy.upstream.clone(),
        limits: proxy.limits.clone(),
        drain: proxy.drain.clone(),
        audit: proxy.audit.clone(),
        log: proxy.log.clone(),
    })
}

/// The policy; what only the compiled policy can know about its rules is reported.
fn compile(written: &policy::Written, projects: &[Project], page: &Page) -> Option<Policy> {
    let rule = |rule: &policy::RuleWritten| rule.meaning(page.file());
    let rules: Option<Vec<Rule>> = written.rules.iter().map(rule).collect();
    let callers: Vec<CallerId> = written.callers.iter().map(|caller| caller.id.value.clone()).collect();
    let scope = |project: &Project| Scope { name: project.name.clone(), id: project.id.clone() };
    let scopes: Vec<Scope> = projects.iter().map(scope).collect();
    let mut hash = hex::encode(Sha256::digest(page.text()));
    hash.truncate(HASH_LENGTH);
    let policy = Policy::new(rules?, &callers, &scopes, hash);
    for finding in policy.findings() {
        let Some(rule) = written.rules.iter().find(|rule| rule.place.line == finding.rule.location.line)
        else {
            continue;
        };
        match finding.problem {
            Finding::ImpossibleJob(glob) => {
                let job = rule.jobs.iter().find(|job| job.value == *glob);
                let place = job.map_or(rule.place, |job| job.place);
                page.error(place, finding.problem.to_string(), "`*` stands for any run of characters");
            }
            Finding::NeverDecides(_) => {
                let message = format!("the rule `{}` has no effect: {}", finding.rule.id, finding.problem);
                page.warning(rule.place, message, "remove it, or narrow the other");
            }
            // These are reported by `link`, with the place of the name.
            Finding::DuplicateId(_)
            | Finding::Empty(_)
            | Finding::UnknownCaller(_)
            | Finding::UnknownAction(_)
            | Finding::UnknownProject(_) => {}
        }
    }
    Some(policy)
}

/// How much of the policy's SHA-256 names it, in hexadecimal digits.
const HASH_LENGTH: usize = 16;
