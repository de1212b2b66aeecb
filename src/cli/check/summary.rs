//! The part of the summary that follows from the files: listeners, callers and their rules, projects, credentials.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    config::{self, Listener, Project, Settings},
    credential::{Agency, Password, Source, SourceCandidate, find_candidates},
    identity::{Proof, ServiceAccount, Signer},
    policy::{Mode, Rule, spell_moment},
    upstream::Proxies,
};

/// Writes the listeners, callers, projects and credentials.
pub(super) fn write(
    path: &Path,
    settings: &Settings,
    proxies: &Proxies,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{} is valid. This would run:", path.display())?;
    writeln!(out, "\nlisteners")?;
    for listener in &settings.listeners {
        let tls = match &listener.tls {
            None => "",
            Some(tls) if tls.client_ca.is_none() => ", with TLS",
            Some(tls) if tls.certificates_required => ", with TLS and client certificates",
            Some(_) => ", with TLS and optional client certificates",
        };
        writeln!(out, "  {} on {}{tls}", listener.name, listener.bind)?;
        for (caller, proof) in settings.callers.proofs() {
            if let Some(proof) = proof_on(listener, proof) {
                writeln!(out, "    {caller}, by {proof}")?;
            }
        }
    }
    if let Some(ops) = &settings.ops {
        writeln!(out, "  health and metrics on {}", ops.bind)?;
    }
    if let Some(admin) = &settings.admin {
        writeln!(out, "  operators on unix:{}", admin.path.display())?;
    }
    writeln!(out, "\nprojects")?;
    for project in &settings.projects {
        write_project(project, settings, proxies, out)?;
    }
    let mode = match settings.policy.mode() {
        Mode::Enforce => "",
        Mode::Observe => ", observe mode: NOTHING IS DENIED",
    };
    writeln!(out, "\ncallers, under policy {}{mode}", settings.policy.hash())?;
    let rules_by_caller = settings.policy.rules_by_caller();
    for caller in settings.callers.ids() {
        writeln!(out, "  {caller}")?;
        let (first, more) = rules_by_caller.first(caller, MAX_RULES_SHOWN);
        for rule in first {
            writeln!(out, "    {}", one_rule(rule))?;
        }
        if more > 0 {
            writeln!(out, "    and {more} more")?;
        }
    }
    Ok(())
}

/// Describes a rule: effect, id, location, condition and expiry.
fn one_rule(rule: &Rule) -> String {
    let effect = match rule.mode {
        Mode::Enforce => rule.effect.as_str(),
        Mode::Observe => rule.effect.observed(),
    };
    let condition = if rule.condition.tests().is_empty() { "" } else { ", on condition" };
    let end = rule.expires.map(|end| format!(", until {}", spell_moment(end))).unwrap_or_default();
    format!("{effect} by {} ({}){condition}{end}", rule.id, rule.location)
}

fn write_project(
    project: &Project,
    settings: &Settings,
    proxies: &Proxies,
    out: &mut impl Write,
) -> io::Result<()> {
    let Project { name, id, endpoint, credential, .. } = project;
    let through = |endpoint| match proxies.to(endpoint) {
        Ok(Some(proxy)) => format!(", through {} ({})", proxy.endpoint(), proxy.named_by()),
        Ok(None) | Err(_) => String::new(),
    };
    writeln!(out, "  {name} ({id}) at {endpoint}{}", through(endpoint))?;
    let Some(cached) = settings.credentials.iter().find(|c| c.name == *credential) else { return Ok(()) };
    let through = cached.source.endpoint().map(through).unwrap_or_default();
    writeln!(out, "    with {credential}: {}{through}", format_value(&cached.source))
}

/// Describes how a credential is presented on this listener. `None` if it cannot be.
fn proof_on(listener: &Listener, proof: &Proof) -> Option<String> {
    let (loopback, unix) = match &listener.bind {
        config::Bind::Tcp(address) => (address.ip().is_loopback(), false),
        config::Bind::Unix { .. } => (false, true),
        // Only the inherited socket will tell which of the two it is.
        config::Bind::Systemd(_) => (true, true),
    };
    let certificates = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    // A caller without a certificate cannot get as far as a token.
    let required = listener.tls.as_ref().is_some_and(|tls| tls.certificates_required);
    let besides = if required { ", with a certificate of any name" } else { "" };
    match proof {
        Proof::Listener(name) => (*name == listener.name).then(|| format!("reaching it{besides}")),
        Proof::Loopback { uid } => loopback.then(|| format!("a socket of user id {uid}")),
        Proof::Unix { uid, gid } => {
            let user = uid.map(|uid| format!("user id {uid}"));
            let group = gid.map(|gid| format!("group id {gid}"));
            unix.then(|| [user, group].into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Proof::Bearer(_) => listener.bearer.then(|| format!("a bearer token{besides}")),
        Proof::ServiceAccount(account) => listener.bearer.then(|| {
            let ServiceAccount { namespace, name, .. } = account;
            format!("a token of the service account {namespace}/{name}{besides}")
        }),
        Proof::SdkSignature(Signer { key, require_signed_host }) => {
            let with = key.key_hint().map(|hint| format!(" with {hint}…")).unwrap_or_default();
            let of = if *require_signed_host { " that covers Host" } else { "" };
            Some(format!("an SDK signature{with}{of}{besides}"))
        }
        Proof::Dns(name) => certificates.then(|| format!("a certificate for {name}")),
        Proof::Spiffe(id) => certificates.then(|| format!("a certificate for {id}")),
    }
}

/// The maximum number of a caller's rules that are listed.
const MAX_RULES_SHOWN: usize = 20;

fn format_value(source: &Source) -> String {
    match source {
        Source::Environment => "keys from the environment".into(),
        Source::Files { access_key, secret_key, .. } => {
            format!("keys from {} and {}", access_key.display(), secret_key.display())
        }
        Source::Profile(profile) => format!("section [{}] of {}", profile.section, profile.path.display()),
        Source::Metadata(endpoint) => format!("keys of this machine's agency, from {}", endpoint),
        Source::PodIdentity => "keys of this pod's agency, from the agent named in the environment".into(),
        Source::Oidc(oidc) => format!("keys for an identity token, from {}", oidc.iam_endpoint),
        Source::OidcSts(sts) => {
            format!("keys of {} for an identity token, from {}", sts.agency_urn, sts.sts_endpoint)
        }
        Source::Agency(agency) => {
            let Agency { base, agency_urn, sts_endpoint, .. } = agency;
            format!("keys of {agency_urn}, assumed with {base}, from {}", sts_endpoint)
        }
        Source::IamPassword(password) => {
            let Password { iam_endpoint, domain, user, .. } = password;
            format!("tokens of the user {user} of {domain}, from {}", iam_endpoint)
        }
        Source::TokenFile(path) => format!("the token in {}", path.display()),
        Source::Auto(known) => {
            let told = |look: &SourceCandidate| match &look.passed_over {
                Some(reason) => format!("\n      not {}: {reason}", look.source),
                None => format!("\n      {}, if available", look.source),
            };
            let snapshot: String = find_candidates(known).iter().map(told).collect();
            format!("the first available source; in this command's environment:{snapshot}")
        }
    }
}
