//! `check`: is the configuration valid, and what would run?
//!
//! It reads what `run` reads, in the same way, and binds nothing.

use super::{exit, output};
use crate::config::{self, Listener, Loaded, Project, Report, Settings, Severity};
use crate::credential::{Agency, Password, Source, SourceCandidate, find_candidates};
use crate::identity::{Proof, ServiceAccount, Signer};
use crate::policy::{Mode, Rule, spell_moment};
use crate::upstream::{EXEMPTIONS, Endpoint, Proxies, variable};
use anyhow::Context;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proxy.yaml to read
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Exit with 1 where there is a warning
    #[arg(long)]
    strict: bool,
}

/// Runs the command: problems to standard error, the summary to standard output.
///
/// # Errors
/// Where the answer cannot be written; a configuration that is not valid is an exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut out, mut err) = (output::stdout(), output::stderr());
    check(args, variable, &mut out, &mut err).context("cannot write the answer")
}

fn check(
    args: &Args,
    variable: impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let Args { config: path, strict } = args;
    match read((path, config::load), variable, err)? {
        Ok(ValidConfig { settings, warnings, proxies }) => {
            problems(&warnings, err)?;
            summary(path, (&settings, &proxies), out)?;
            let refused = *strict && !warnings.problems().is_empty();
            Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(code) => Ok(code),
    }
}

/// A configuration that can be started with in this environment.
pub(super) struct ValidConfig {
    pub(super) settings: Settings,
    pub(super) warnings: Report,
    pub(super) proxies: Proxies,
}

/// One of the two ways to load a configuration.
pub(super) type Load = fn(&Path) -> Result<Loaded, Report>;

/// Reads the configuration. Where it is not valid, or the environment is not, tells why, and gives the exit code.
pub(super) fn read(
    (path, load): (&Path, Load),
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
        writeln!(err, "warning: the entry `{entry}` of NO_PROXY exempts nothing: {EXEMPTIONS}")?;
    }
    Ok(Ok(ValidConfig { settings, warnings, proxies }))
}

fn problems(report: &Report, err: &mut impl Write) -> io::Result<()> {
    if report.problems().is_empty() {
        return Ok(());
    }
    let count = |severity, word| match report.count(severity) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let verdict = if report.has_errors() { "not valid" } else { "valid" };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    writeln!(err, "{report}\n{errors}, {warnings}: the configuration is {verdict}")
}

/// Everything that is connected to.
fn endpoints(settings: &Settings) -> impl Iterator<Item = &Endpoint> {
    let sources = settings.credentials.iter().filter_map(|credential| credential.source.endpoint());
    settings.projects.iter().map(|project| &project.endpoint).chain(sources)
}

fn summary(path: &Path, (settings, proxies): (&Settings, &Proxies), out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} is valid. This would run:", path.display())?;
    writeln!(out, "\nlisteners")?;
    for listener in &settings.listeners {
        let tls = match &listener.tls {
            None => "",
            Some(tls) if tls.client_ca.is_none() => ", with TLS",
            Some(tls) if tls.certificates_required => ", with TLS and client certificates",
            Some(_) => ", with TLS and, where callers have them, client certificates",
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
        write_project(project, (settings, proxies), out)?;
    }
    let mode = match settings.policy.mode() {
        Mode::Enforce => "",
        Mode::Observe => ", which is only observed: NOTHING IS DENIED",
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

/// What the rule says, under which name and where, and what keeps it from saying so always.
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
    (settings, proxies): (&Settings, &Proxies),
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

/// How the proof is given on this listener. `None` where it cannot be.
fn proof_on(listener: &Listener, proof: &Proof) -> Option<String> {
    let (loopback, unix) = match &listener.bind {
        config::Bind::Tcp(address) => (address.ip().is_loopback(), false),
        config::Bind::Unix { .. } => (false, true),
        // Which of the two it is, the socket will tell.
        config::Bind::Systemd(_) => (true, true),
    };
    let certificates = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    // Whoever has none does not get as far as showing a token.
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

/// As many rules of a caller are told one by one.
const MAX_RULES_SHOWN: usize = 20;

fn format_value(source: &Source) -> String {
    match source {
        Source::Environment => "keys from the environment".into(),
        Source::Files { access_key, secret_key, .. } => {
            format!("keys from {} and {}", access_key.display(), secret_key.display())
        }
        Source::Profile { path, section, .. } => format!("section [{section}] of {}", path.display()),
        Source::Metadata(endpoint) => format!("keys of this machine's agency, from {}", endpoint),
        Source::PodIdentity => "keys of this pod's agency, from the agent that the environment names".into(),
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
                None => format!("\n      {}, if it can be had", look.source),
            };
            let snapshot: String = find_candidates(known).iter().map(told).collect();
            format!("the first source that is there; by the environment of this command:{snapshot}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

    fn checked(path: &str) -> (ExitCode, String, String) {
        checked_with(path, |_| None)
    }

    fn checked_with(path: &str, variable: impl Fn(&str) -> Option<String>) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { config: path.into(), strict: false };
        let code = check(&args, variable, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_valid_configuration_is_summed_up() {
        let (code, out, err) = checked(&format!("{SAMPLES}/minimal/proxy.yaml"));
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let (callers, hash) = (out.find("under policy ").unwrap() + 13, 16);
        let out = out.replace(&out[callers..callers + hash], "HASH").replace(&format!("{SAMPLES}/"), "");
        let expected = "\
minimal/proxy.yaml is valid. This would run:

listeners
  app on 127.0.0.1:8080
    editor-api, by reaching it

projects
  media-prod (0a1b2c3d4e5f60718293a4b5c6d7e8f9) at https://mpc.cn-north-4.myhuaweicloud.com
    with prod: keys from the environment

callers, under policy HASH
  editor-api
    allow by editor-cancels (policy.yaml:11)
";
        assert_eq!(out, expected);
    }

    #[test]
    fn an_egress_proxy_is_told_where_it_is_used_and_by_whom_it_is_named() {
        let minimal = format!("{SAMPLES}/minimal/proxy.yaml");
        let set = |value: &'static str| move |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
        let (code, out, _) = checked_with(&minimal, set("http://u:s3cr3t@egress:3128"));
        assert_eq!(code, ExitCode::SUCCESS);
        let told = "myhuaweicloud.com, through http://egress:3128 (HTTPS_PROXY)\n    with prod";
        assert!(out.contains(told), "{out}");
        let (code, out, err) = checked_with(&minimal, set("socks5://u:s3cr3t@egress:1080"));
        assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
        let expected = "\
error: the environment variable HTTPS_PROXY names no egress proxy: it must be http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT

1 error: the configuration is valid, this environment is not
";
        assert_eq!(err, expected);
    }

    #[test]
    fn what_is_only_observed_or_ends_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["proxy.yaml", "policy.yaml"] {
            let text = std::fs::read_to_string(format!("{SAMPLES}/minimal/{name}")).unwrap();
            let text = text
                .replace("callers:\n", "mode: observe\ncallers:\n")
                .replace("    jobs:", "    mode: observe\n    expires: 2999-12-31T18:00:00Z\n    jobs:")
                .replace("    jobs:", "    condition: { Null: { g:SourceIp: false } }\n    jobs:");
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let (code, out, err) = checked(directory.path().join("proxy.yaml").to_str().unwrap());
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert!(err.contains("warning: NOTHING IS DENIED"), "{err}");
        assert!(out.contains(", which is only observed: NOTHING IS DENIED\n"), "{out}");
        let rule =
            "would_allow by editor-cancels (policy.yaml:12), on condition, until 2999-12-31T18:00:00Z\n";
        assert!(out.contains(rule), "{out}");
    }

    #[test]
    fn a_configuration_that_is_not_valid_is_exit_code_78_and_no_summary() {
        let (code, out, err) = checked("missing.yaml");
        assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
        let expected = "\
missing.yaml: error: cannot be read: there is no such file

1 error, 0 warnings: the configuration is not valid
";
        assert_eq!(err, expected);
    }

    #[test]
    fn warnings_are_shown_and_do_not_make_a_configuration_invalid() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["proxy.yaml", "policy.yaml"] {
            let text = std::fs::read_to_string(format!("{SAMPLES}/minimal/{name}")).unwrap();
            let text = text.replace(
                "  prod: { environment: {} }",
                "  spare: { environment: {} }\n  prod: { environment: {} }",
            );
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let (code, out, err) = checked(directory.path().join("proxy.yaml").to_str().unwrap());
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert!(out.contains("is valid. This would run:"), "{out}");
        assert!(err.contains("warning: no project uses the credential `spare`"), "{err}");
        assert!(err.ends_with("0 errors, 1 warning: the configuration is valid\n"), "{err}");
    }
}
