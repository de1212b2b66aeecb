//! Resolves names. Every name is given once, every name that is used is given, and nothing that was written stays
//! without effect.
//!
//! It stands after the two readers, which look at one value at a time, and before settings, which are made of
//! what passed here.

use super::decode::did_you_mean;
use super::project::{LookupForm, RawProject};
use super::report::Position;
use super::settings::Bind;
use super::source_file::{Located, SourceFile};
use super::unique::check_unique_names;
use super::{ambiguity, listener, policy, proxy, rules};
use crate::credential::Source;
use crate::identity::Proof;
use crate::policy::Scope;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

type Name = Located<Arc<str>>;

/// Checks `proxy.yaml` by itself.
pub(super) fn proxy(source: &SourceFile, parsed: &proxy::ParsedProxy) {
    let listeners = || parsed.keys.listeners.iter();
    check_unique_names(source, "a listener", listeners().filter_map(|listener| listener.name.as_ref()));
    addresses(source, parsed);
    let projects = || parsed.keys.projects.iter();
    check_unique_names(source, "a project", projects().filter_map(|project| project.name.as_ref()));
    check_unique_names(source, "a project", projects().filter_map(|project| project.id.as_ref()));
    for (index, project) in projects().enumerate() {
        let others = projects().enumerate().filter(|(other, _)| *other != index);
        let mut ids = others.filter_map(|(_, other)| other.id.as_ref());
        let Some(name) = &project.name else { continue };
        if let Some(id) = ids.find(|id| id.value == name.value) {
            let message =
                format!("`{}` is also the id of another project, at {}", name.value, source.format(id.place));
            source.error(name.place, message, "callers may use names and ids: choose another name");
        }
    }
    credentials(source, parsed);
}

fn credentials(source: &SourceFile, parsed: &proxy::ParsedProxy) {
    let of_projects = parsed.keys.projects.iter().filter_map(|project| project.credential.as_ref());
    let bases = parsed.credentials.iter().filter_map(|credential| credential.base.as_ref());
    let used: Vec<&Name> = of_projects.chain(bases).collect();
    let names = || parsed.credentials.iter().map(|credential| &credential.name);
    for used in &used {
        if !parsed.credentials.is_empty() && !names().any(|name| name.value == used.value) {
            let hint = did_you_mean(source, &used.value, names().map(|name| &*name.value));
            source.error(used.place, format!("unknown credential `{}`", used.value), hint);
        }
    }
    bases_are_keys(source, parsed);
    // One that could not be read may be the one that is used.
    if parsed.keys.projects.iter().any(|project| project.credential.is_none()) {
        return;
    }
    for name in names().filter(|name| !used.iter().any(|used| used.value == name.value)) {
        source.warning(name.place, format!("unused credential `{}`", name.value), "remove it");
    }
}

/// An agency is assumed with an access key, which in the end comes from something else than an agency.
fn bases_are_keys(source: &SourceFile, parsed: &proxy::ParsedProxy) {
    let find = |name: &str| parsed.credentials.iter().find(|credential| *credential.name.value == *name);
    for credential in &parsed.credentials {
        let Some(base) = &credential.base else { continue };
        if find(&base.value).and_then(|found| found.source.as_ref()).is_some_and(Source::gives_token) {
            let message =
                format!("`{}` is a user token: assuming an agency requires an access key", base.value);
            source.error(base.place, message, "name a credential with another source");
        }
        let next = |name: &Arc<str>| find(name)?.base.as_ref().map(|base| Arc::clone(&base.value));
        let mut chain = std::iter::successors(Some(Arc::clone(&base.value)), next);
        if chain.by_ref().take(parsed.credentials.len()).any(|name| name == credential.name.value) {
            let message = format!("circular agency: `{}` is its own base", credential.name.value);
            source.error(base.place, message, "name a credential that is not an agency");
        }
    }
}

/// No two sockets may want the same address.
fn addresses(source: &SourceFile, parsed: &proxy::ParsedProxy) {
    let listeners = parsed.keys.listeners.iter().filter_map(|listener| listener.bind.clone());
    let ops =
        parsed.keys.ops.iter().map(|ops| Located { value: Bind::Tcp(ops.value.bind), place: ops.place });
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
pub(super) fn policy(source: &SourceFile, policy: &policy::ParsedPolicy, proxy: &proxy::ParsedProxy) {
    proofs(source, policy, proxy);
    let listeners = proxy.keys.listeners.iter().filter_map(|listener| listener.name.as_ref());
    let listeners: Vec<&str> = listeners.map(|name| &*name.value).collect();
    let names = proxy.keys.projects.iter().filter_map(|project| project.name.as_ref());
    let ids = proxy.keys.projects.iter().filter_map(|project| project.id.as_ref());
    let projects: Vec<&str> = names.chain(ids).map(|name| &*name.value).collect();
    let by_v2 = |project: &&RawProject| project.lookup_form == LookupForm::V2;
    let by_v2: Vec<Scope> = proxy.keys.projects.iter().filter(by_v2).filter_map(RawProject::scope).collect();
    let scopes = proxy.scopes();
    let known =
        rules::KnownNames { projects: &projects, scopes: &scopes, listeners: &listeners, by_v2: &by_v2 };
    rules::names(source, policy, &known);
}

/// Listeners and proofs that never meet. Only for files without errors: what could not be read may be what is missing.
pub(super) fn identification(
    proxy_source: &SourceFile,
    proxy: &proxy::ParsedProxy,
    policy_source: &SourceFile,
    policy: &policy::ParsedPolicy,
) {
    let proofs = || policy.callers.iter().flat_map(|caller| &caller.identify);
    for listener in &proxy.keys.listeners {
        let Some(name) = &listener.name else { continue };
        if !proofs().any(|proof| takes(listener, &proof.value)) {
            let message =
                format!("no caller can be identified on `{}`: it refuses every request", name.value);
            let hint =
                format!("in the policy, identify a caller by `listener: {}`, or remove it", name.value);
            proxy_source.warning(name.place, message, hint);
        }
    }
    for proof in
        proofs().filter(|proof| !proxy.keys.listeners.iter().any(|listener| takes(listener, &proof.value)))
    {
        let hint = match proof.value {
            Proof::Bearer(_) => "add `bearer: true` to a listener",
            Proof::ServiceAccount(_) => "add `bearer: true` to a listener",
            Proof::Dns(_) | Proof::Spiffe(_) => "add `tls` with a `client_ca` to a listener",
            Proof::Listener(_) | Proof::Loopback { .. } | Proof::Unix { .. } | Proof::SdkSignature(_) => {
                "add a listener with `bind: unix:PATH`"
            }
        };
        policy_source.warning(
            proof.place,
            format!("no listener accepts `{}` proofs", proof.value.kind().as_str()),
            hint,
        );
    }
}

/// Whether a request on the listener can carry the proof.
fn takes(listener: &listener::ParsedListener, proof: &Proof) -> bool {
    match proof {
        Proof::Listener(name) => listener.name.as_ref().is_some_and(|listener| listener.value == *name),
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

/// Each proof stands for one caller, and names a listener there is.
fn proofs(source: &SourceFile, policy: &policy::ParsedPolicy, proxy: &proxy::ParsedProxy) {
    for proof in policy.callers.iter().flat_map(|caller| &caller.identify) {
        if let Proof::Listener(name) = &proof.value {
            listener_exists(source, &Located { value: Arc::clone(name), place: proof.place }, proxy);
            proves_enough(source, &Located { value: Arc::clone(name), place: proof.place }, proxy);
        }
        if let Proof::Loopback { .. } = &proof.value {
            loopback_exists(source, proof.place, proxy);
        }
    }
    ambiguity::proofs(source, policy);
}

fn listener_exists(source: &SourceFile, name: &Name, proxy: &proxy::ParsedProxy) {
    let listeners =
        proxy.keys.listeners.iter().filter_map(|listener| listener.name.as_ref()).map(|name| &*name.value);
    // Where one has no readable name, that has been reported, and may be this one.
    let all_named =
        !proxy.keys.listeners.is_empty() && listeners.clone().count() == proxy.keys.listeners.len();
    if all_named && !listeners.clone().any(|listener| *listener == *name.value) {
        let hint = did_you_mean(source, &name.value, listeners);
        source.error(name.place, format!("unknown listener `{}`", name.value), hint);
    }
}

/// A listener that others can reach is no proof by itself, unless somebody says that the network is one.
fn proves_enough(source: &SourceFile, name: &Name, proxy: &proxy::ParsedProxy) {
    let named = |listener: &&listener::ParsedListener| {
        listener.name.as_ref().is_some_and(|own| own.value == name.value)
    };
    if proxy
        .keys
        .listeners
        .iter()
        .find(named)
        .is_some_and(|listener| listener.proves_nothing() && listener.is_remote())
    {
        let message =
            format!("anyone who can reach `{}` would be this caller: it requires no certificate", name.value);
        let hint = "identify the caller by token or certificate, add `client_ca` to the listener's `tls`, or \
                    accept it there with `unsafe_listen: true`";
        source.error(name.place, message, hint);
    }
}

/// The owner of a socket is known on this machine only.
fn loopback_exists(source: &SourceFile, place: Position, proxy: &proxy::ParsedProxy) {
    // One whose address could not be read may be it.
    let all_read = !proxy.keys.listeners.is_empty() && proxy.keys.listeners.iter().all(|l| l.bind.is_some());
    if all_read && !proxy.keys.listeners.iter().any(listener::ParsedListener::is_loopback) {
        let message = "no listener is bound to a loopback address, so this proof cannot match";
        source.error(place, message, "add a listener with `bind: 127.0.0.1:PORT`, or remove this");
    }
}
