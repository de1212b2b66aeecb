//! Resolves names: every name must be unique, every name that is used must exist, and everything must have an effect.

use super::ambiguity;
use super::credentials::Credential;
use super::listener::RawListener;
use super::names::{check_unique_names, known};
use super::policy::ParsedPolicy;
use super::project::{LookupForm, RawProject};
use super::proxy::{ParsedProxy, RawProxy};
use super::report::Position;
use super::rules;
use super::settings::Bind;
use super::source_file::{Located, SourceFile};
use crate::credential::Source;
use crate::identity::Proof;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

type Name = Located<Arc<str>>;

/// Checks `proxy.yaml` by itself.
pub(super) fn proxy(source: &SourceFile, parsed: &ParsedProxy) {
    let RawProxy { listeners, projects, .. } = &parsed.keys;
    check_unique_names(source, "a listener", listeners.iter().filter_map(|listener| listener.name.as_ref()));
    addresses(source, &parsed.keys);
    check_unique_names(source, "a project", projects.iter().filter_map(|project| project.name.as_ref()));
    check_unique_names(source, "a project", projects.iter().filter_map(|project| project.id.as_ref()));
    for project in projects {
        let Some(name) = &project.name else { continue };
        let others = projects.iter().filter(|other| !std::ptr::eq(*other, project));
        let mut ids = others.filter_map(|other| other.id.as_ref());
        if let Some(id) = ids.find(|id| id.value == name.value) {
            let at = source.format(id.place);
            let message = format!("`{}` is also the id of another project, at {at}", name.value);
            source.error(name.place, message, "callers may use names and ids: choose another name");
        }
    }
    credentials(source, parsed);
}

fn credentials(source: &SourceFile, parsed: &ParsedProxy) {
    let of_projects = parsed.keys.projects.iter().filter_map(|project| project.credential.as_ref());
    let bases = parsed.credentials.iter().filter_map(|credential| credential.base.as_ref());
    let used: Vec<&Name> = of_projects.chain(bases).collect();
    let names = || parsed.credentials.iter().map(|credential| &credential.name);
    for used in used.iter().filter(|_| !parsed.credentials.is_empty()) {
        known(source, "credential", used, names().map(|name| &*name.value));
    }
    bases_are_keys(source, &parsed.credentials);
    // An unreadable one may be the one that is used.
    if parsed.keys.projects.iter().any(|project| project.credential.is_none()) {
        return;
    }
    for name in names().filter(|name| !used.iter().any(|used| used.value == name.value)) {
        source.warning(name.place, format!("unused credential `{}`", name.value), "remove it");
    }
}

/// Checks that each agency is assumed with an access key, and that these do not form a circle.
fn bases_are_keys(source: &SourceFile, credentials: &[Credential]) {
    let find = |name: &str| credentials.iter().find(|credential| *credential.name.value == *name);
    for credential in credentials {
        let Some(base) = &credential.base else { continue };
        if find(&base.value).and_then(|found| found.source.as_ref()).is_some_and(Source::gives_token) {
            let message =
                format!("`{}` is a user token: assuming an agency requires an access key", base.value);
            source.error(base.place, message, "name a credential with another source");
        }
        let next = |name: &Arc<str>| find(name)?.base.as_ref().map(|base| Arc::clone(&base.value));
        let mut chain = std::iter::successors(Some(Arc::clone(&base.value)), next);
        if chain.by_ref().take(credentials.len()).any(|name| name == credential.name.value) {
            let message = format!("circular agency: `{}` is its own base", credential.name.value);
            source.error(base.place, message, "name a credential that is not an agency");
        }
    }
}

fn addresses(source: &SourceFile, RawProxy { listeners, ops, .. }: &RawProxy) {
    let listeners = listeners.iter().filter_map(|listener| listener.bind.clone());
    let ops = ops.iter().map(|ops| Located { value: Bind::Tcp(ops.value.bind), place: ops.place });
    let all: Vec<Located<Bind>> = listeners.chain(ops).collect();
    for (index, bind) in all.iter().enumerate() {
        if let Some(first) = all.iter().take(index).find(|first| collide(&first.value, &bind.value)) {
            let message = format!("{} is already used at {}", bind.value, source.format(first.place));
            let hint = match bind.value {
                Bind::Tcp(_) | Bind::Unix { .. } => "choose another port or path",
                Bind::Systemd(_) => "choose another: each socket takes one listener",
            };
            source.error(bind.place, message, hint);
        }
    }
}

fn collide(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Tcp(one), Bind::Tcp(other)) => {
            let covers = |a: &SocketAddr, b: &SocketAddr| match a.ip() {
                IpAddr::V4(ip) => ip.is_unspecified() && b.is_ipv4(),
                IpAddr::V6(ip) => ip.is_unspecified(),
            };
            let same_ip = one.ip() == other.ip() || covers(one, other) || covers(other, one);
            one.port() != 0 && one.port() == other.port() && same_ip
        }
        (Bind::Unix { path: one, .. }, Bind::Unix { path: other, .. }) => one == other,
        (Bind::Systemd(one), Bind::Systemd(other)) => one == other,
        (Bind::Tcp(_) | Bind::Unix { .. } | Bind::Systemd(_), _) => false,
    }
}

/// Checks `policy.yaml` against `proxy.yaml`.
pub(super) fn policy(source: &SourceFile, policy: &ParsedPolicy, proxy: &ParsedProxy) {
    proofs(source, policy, &proxy.keys.listeners);
    let projects = &proxy.keys.projects;
    let names = projects.iter().filter_map(|project| Some(&*project.name.as_ref()?.value));
    let ids = projects.iter().filter_map(|project| Some(&*project.id.as_ref()?.value));
    let by_v2 = projects.iter().filter(|project| project.lookup_form == LookupForm::V2);
    let known = rules::KnownNames {
        projects: names.chain(ids).collect(),
        scopes: &proxy.scopes(),
        listeners: listener_names(&proxy.keys.listeners).collect(),
        by_v2: by_v2.filter_map(RawProject::scope).collect(),
    };
    rules::names(source, policy, &known);
}

/// Reports listeners and credentials without a counterpart. Only for files without errors, because an unreadable part may be
/// the counterpart.
pub(super) fn identification(
    proxy_source: &SourceFile,
    proxy: &ParsedProxy,
    policy_source: &SourceFile,
    policy: &ParsedPolicy,
) {
    for listener in &proxy.keys.listeners {
        let Some(name) = &listener.name else { continue };
        if !policy.proofs().any(|proof| takes(listener, &proof.value)) {
            let message =
                format!("no caller can be identified on `{}`: it refuses every request", name.value);
            let hint =
                format!("in the policy, identify a caller by `listener: {}`, or remove it", name.value);
            proxy_source.warning(name.place, message, hint);
        }
    }
    let taken = |proof: &Proof| proxy.keys.listeners.iter().any(|listener| takes(listener, proof));
    for proof in policy.proofs().filter(|proof| !taken(&proof.value)) {
        let hint = match proof.value {
            Proof::Bearer(_) | Proof::ServiceAccount(_) => "add `bearer: true` to a listener",
            Proof::Dns(_) | Proof::Spiffe(_) => "add `tls` with a `client_ca` to a listener",
            Proof::Listener(_) | Proof::Loopback { .. } | Proof::Unix { .. } | Proof::SdkSignature(_) => {
                "add a listener with `bind: unix:PATH`"
            }
        };
        let message = format!("no listener accepts `{}` proofs", proof.value.kind().as_str());
        policy_source.warning(proof.place, message, hint);
    }
}

/// Whether a request on the listener can present this credential.
fn takes(listener: &RawListener, proof: &Proof) -> bool {
    match proof {
        Proof::Listener(name) => listener.is_named(name),
        Proof::Unix { .. } => {
            let bind = listener.bind.as_ref().map(|bind| &bind.value);
            matches!(bind, Some(Bind::Unix { .. } | Bind::Systemd(_)))
        }
        Proof::Loopback { .. } => listener.is_loopback(),
        Proof::Bearer(_) | Proof::ServiceAccount(_) => listener.bearer,
        Proof::Dns(_) | Proof::Spiffe(_) => listener.asks_for_certificates(),
        Proof::SdkSignature(_) => true,
    }
}

/// Checks that each credential identifies one caller and names an existing listener.
fn proofs(source: &SourceFile, policy: &ParsedPolicy, listeners: &[RawListener]) {
    for Located { value: proof, place } in policy.proofs() {
        if let Proof::Listener(name) = proof {
            listener_identifies(source, &Located { value: Arc::clone(name), place: *place }, listeners);
        }
        if let Proof::Loopback { .. } = proof {
            loopback_exists(source, *place, listeners);
        }
    }
    ambiguity::proofs(source, policy);
}

/// Checks that the listener exists, and that reaching it may identify a caller.
fn listener_identifies(source: &SourceFile, name: &Name, listeners: &[RawListener]) {
    let names = listener_names(listeners);
    match listeners.iter().find(|listener| listener.is_named(&name.value)) {
        Some(listener) if listener.proves_nothing() && listener.is_remote() => {
            let name_there = &name.value;
            let message = format!(
                "anyone who can reach `{name_there}` would be this caller: it requires no certificate"
            );
            let hint = "identify the caller by token or certificate, add `client_ca` to the listener's `tls`, or \
                        accept it there with `unsafe_listen: true`";
            source.error(name.place, message, hint);
        }
        // A listener without a readable name has been reported, and may be this one.
        None if !listeners.is_empty() && names.clone().count() == listeners.len() => {
            known(source, "listener", name, names);
        }
        Some(_) | None => {}
    }
}

fn listener_names(listeners: &[RawListener]) -> impl Iterator<Item = &str> + Clone {
    listeners.iter().filter_map(|listener| Some(&*listener.name.as_ref()?.value))
}

/// Checks that there is a loopback listener, because only there is the owner of a socket known.
fn loopback_exists(source: &SourceFile, place: Position, listeners: &[RawListener]) {
    // One with an unreadable address may be it.
    let all_read = !listeners.is_empty() && listeners.iter().all(|listener| listener.bind.is_some());
    if all_read && !listeners.iter().any(RawListener::is_loopback) {
        let message = "no listener is bound to a loopback address, so this proof cannot match";
        source.error(place, message, "add a listener with `bind: 127.0.0.1:PORT`, or remove this");
    }
}
