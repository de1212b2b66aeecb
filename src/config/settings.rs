//! The resolved settings that the rest of the program is built from.
//!
//! Only `load` makes them, from files without errors: every name is resolved, every file was read once, and every number is
//! in range.

use super::project::Project;
use super::sections::{AuditSettings, Drain, Limits, LogSettings};
use super::upstream::UpstreamSettings;
use crate::credential::Source;
use crate::identity::{CallerId, Callers};
use crate::limit::CallerLimits;
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The settings of `proxy.yaml` and `policy.yaml`.
#[derive(Debug)]
pub struct Settings {
    /// The listeners; at least one.
    pub listeners: Vec<Listener>,
    /// The ops listener, if any.
    pub ops: Option<Ops>,
    /// The admin socket, if any.
    pub admin: Option<Admin>,
    /// The freeze file, if any.
    pub freeze_file: Option<PathBuf>,
    /// The TLS of listeners, as loaded from the files.
    pub tls: HashMap<Arc<str>, ListenerTls>,
    /// The projects; at least one.
    pub projects: Vec<Arc<Project>>,
    /// The credentials; at least one.
    pub credentials: Vec<CredentialSettings>,
    /// The callers and their credentials.
    pub callers: Callers,
    /// The policy.
    pub policy: Policy,
    /// The limits of callers.
    pub caller_limits: Vec<(CallerId, CallerLimits)>,
    /// How requests are sent.
    pub upstream: UpstreamSettings,
    /// The limits of this process.
    pub limits: Limits,
    /// How it stops.
    pub drain: Drain,
    /// Where the audit records go.
    pub audit: AuditSettings,
    /// How it logs.
    pub log: LogSettings,
}

/// The addresses of a running proxy.
#[derive(Debug, Default)]
pub struct Addresses {
    /// The ops listener, if any.
    pub ops: Option<Ops>,
    /// The admin socket, if any.
    pub admin: Option<Admin>,
}

/// An address that callers connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, which policies and audit records use.
    pub name: Arc<str>,
    /// The address.
    pub bind: Bind,
    /// The accepted values of `Host`.
    pub hosts: Hosts,
    /// Whether it accepts bearer tokens.
    pub bearer: bool,
    /// The files of its TLS. `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether other machines may be able to reach it: its hosts are named, and every caller authenticates over TLS or the
    /// risk was accepted. Only the process itself can tell for an inherited socket.
    pub may_be_remote: bool,
}

/// A listener's TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The TLS configuration.
    pub config: Arc<ServerConfig>,
    /// When its certificate expires.
    pub ends: Option<DateTime<Utc>>,
}

/// The files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and the intermediates.
    pub certificate: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
    /// The authorities that issue callers' certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether callers must present a certificate.
    pub certificates_required: bool,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// The path of the socket.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A TCP or Unix socket inherited under this name (`sd_listen_fds`).
    Systemd(Arc<str>),
}

/// The accepted values of `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// By default those of this machine; on a Unix socket `Host` is ignored.
    Default,
    /// Any value.
    Any,
    /// These names in lower case, with any port. IPv6 addresses have brackets, as in the header.
    Names(Vec<Arc<str>>),
}

/// The ops listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// The address.
    pub bind: SocketAddr,
    /// The accepted names in `Host`, in addition to any address.
    pub hosts: Hosts,
}

/// The admin socket, a Unix socket whose permissions decide who is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The path of the socket.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// One named credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Its name.
    pub name: Arc<str>,
    /// Its source, with resolved paths.
    pub source: Source,
}

impl Bind {
    /// Whether only this machine can reach it. `None` if only the socket itself can tell.
    pub fn is_local(&self) -> Option<bool> {
        match self {
            Self::Tcp(address) => Some(address.ip().is_loopback()),
            Self::Unix { .. } => Some(true),
            Self::Systemd(_) => None,
        }
    }
}

/// Formats as in the file.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Returns `Host` without its port. `None` if the port is invalid.
fn without_port(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((name, port)) if !port.contains(']') => {
            let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
            is_port.then_some(name)
        }
        _ => Some(host),
    }
}

impl Hosts {
    /// Whether a request with this `Host` is for us. Case does not matter, and any valid port will do.
    pub fn answer_to(&self, host: &str) -> bool {
        let is_one = |name: &str| match self {
            Self::Any => true,
            Self::Default => {
                ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| own.eq_ignore_ascii_case(name))
            }
            Self::Names(names) => names.iter().any(|own| own.eq_ignore_ascii_case(name)),
        };
        *self == Self::Any || without_port(host).is_some_and(is_one)
    }

    /// Like [`Self::answer_to`], but also accepts every address and `localhost`: after DNS rebinding a page sends the name
    /// that it was loaded from.
    pub fn answer_to_addresses_and(&self, host: &str) -> bool {
        let is_address = |name: &str| {
            let ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            let address = match ipv6 {
                Some(ipv6) => ipv6.parse::<Ipv6Addr>().is_ok(),
                None => name.parse::<Ipv4Addr>().is_ok(),
            };
            address || name.eq_ignore_ascii_case("localhost")
        };
        without_port(host).is_some_and(is_address) || self.answer_to(host)
    }
}
