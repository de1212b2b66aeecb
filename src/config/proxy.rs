//! Reads `proxy.yaml`, each value by itself; `resolve` checks names.

use super::credentials::{self, CREDENTIAL, Credential, RawCredential};
use super::declare::*;
use super::files;
use super::listener::{ADMIN, HOSTS, LISTENER, RawListener, SOCKET_ADDRESS};
use super::project::{PROJECT, RawProject};
use super::sections::{AUDIT, AuditSettings, Drain, LIMITS, Limits, LogSettings};
use super::settings::{Admin, Hosts, Ops};
use super::upstream::UpstreamSettings;
use crate::policy::Scope;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

section! {
    /// The configuration of the proxy: listeners, projects, credentials and limits.
    pub(super) struct RawProxy, "proxy.yaml" {
        /// The version of this format.
        version: () = VERSION, required("1");
        /// The file with the callers and their rules.
        policy: Located<String> = AtKey(Text("the path of a file")), required("policy.yaml"), reloaded;
        /// The addresses that callers connect to.
        listeners: Vec<RawListener> = List("a list of listeners", LISTENER),
            several("[ { name: app, bind: 127.0.0.1:8080 } ]");
        /// Health, metrics and status, read-only.
        ops: Located<Ops> = own(ops, RawOps::shape), optional("none");
        /// For operators: freeze, reload, stop.
        admin: Admin = ADMIN, optional("none");
        /// While it exists, calls are refused: all, or those of {"callers":[…]}. In a directory of its own, `freeze`
        /// writes it.
        freeze_file: PathBuf = files::PATH, optional("none");
        /// The projects that callers may use.
        projects: Vec<RawProject> = List("a list of projects", PROJECT),
            several("[ { name: …, id: …, endpoint: …, credential: … } ]");
        /// Keys and tokens, one source each (docs/CREDENTIALS.md); their files are watched.
        credentials: Vec<(Located<Arc<str>>, Option<RawCredential>)> =
            Named("the credentials", scalar::name_shape, CREDENTIAL), several("{ prod: { environment: {} } }");
        /// How requests are sent.
        upstream: UpstreamSettings = nested(), keys("its defaults");
        /// The limits of one process.
        limits: Limits = LIMITS, keys("its defaults");
        /// How it stops.
        drain: Drain = nested(), keys("its defaults");
        /// Where the audit records go.
        audit: AuditSettings = AUDIT, keys("its defaults");
        /// How it logs.
        log: LogSettings = nested(), keys("its defaults");
    }
}

section! {
    /// Where health, metrics and status are served, read-only.
    struct RawOps, "`ops`" {
        /// The address.
        bind: Located<SocketAddr> = SOCKET_ADDRESS, required("127.0.0.1:9090");
        /// Accepted names in `Host`, besides any IP address and localhost.
        hosts: Hosts = HOSTS, optional("none");
    }
}

/// `proxy.yaml` as written. Unreadable parts are reported and left out.
#[derive(Default)]
pub(super) struct ParsedProxy {
    /// Everything except the credentials.
    pub(super) keys: RawProxy,
    pub(super) credentials: Vec<Credential>,
}

impl ParsedProxy {
    pub(super) fn scopes(&self) -> Vec<Scope> {
        self.keys.projects.iter().filter_map(RawProject::scope).collect()
    }
}

pub(super) fn read(source: &SourceFile, root: &Node) -> Option<ParsedProxy> {
    let mut keys = RawProxy::read(source, root)?;
    let credentials = credentials::resolve(source, std::mem::take(&mut keys.credentials), &keys.projects);
    Some(ParsedProxy { keys, credentials })
}

fn ops(source: &SourceFile, node: &Node) -> Option<Located<Ops>> {
    let RawOps { bind, hosts } = RawOps::read(source, node)?;
    let (Located { value: bind, place }, hosts) = (bind?, hosts.unwrap_or(Hosts::Names(Vec::new())));
    Some(Located { value: Ops { bind, hosts }, place })
}
