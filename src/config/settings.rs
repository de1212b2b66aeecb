//! Resolved settings. The settings that the rest of the program is built from.
//!
//! They are made by `load` alone, from files without errors: every name has been found, every file has been
//! read once, every number is in its range. How they were written is not kept.

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

/// Everything that `proxy.yaml` and `policy.yaml` say.
#[derive(Debug)]
pub struct Settings {
    /// Where callers connect; at least one.
    pub listeners: Vec<Listener>,
    /// Where health and metrics are served, if anywhere.
    pub ops: Option<Ops>,
    /// Where operators intervene, if anywhere.
    pub admin: Option<Admin>,
    /// While a file of this name is there, everything is refused.
    pub freeze_file: Option<PathBuf>,
    /// The TLS of the listeners that have one, as the files are now.
    pub tls: HashMap<Arc<str>, ListenerTls>,
    /// What callers may ask for; at least one.
    pub projects: Vec<Arc<Project>>,
    /// With which keys and tokens; at least one.
    pub credentials: Vec<CredentialSettings>,
    /// Who may call, and what proves them.
    pub callers: Callers,
    /// What they may do.
    pub policy: Policy,
    /// How much of it each may ask for.
    pub caller_limits: Vec<(CallerId, CallerLimits)>,
    /// How requests are sent.
    pub upstream: UpstreamSettings,
    /// What one proxy takes on.
    pub limits: Limits,
    /// How it stops.
    pub drain: Drain,
    /// Where the audit records go.
    pub audit: AuditSettings,
    /// How it logs.
    pub log: LogSettings,
}

/// Where a running proxy answers.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Probes, if anywhere.
    pub ops: Option<Ops>,
    /// Operators, if anywhere.
    pub admin: Option<Admin>,
}

/// One address that callers connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, which policies and audit records use.
    pub name: Arc<str>,
    /// The address.
    pub bind: Bind,
    /// Which `Host` values it answers to.
    pub hosts: Hosts,
    /// Whether a bearer token counts as proof here.
    pub bearer: bool,
    /// Where its TLS comes from. `None` speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether it may be one that other machines can reach: its hosts are named, and every caller has to prove itself over
    /// TLS, or the risk was accepted. Of a socket that is passed to the process, only that process knows whether it is one.
    pub may_be_remote: bool,
}

/// A listener's TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// How handshakes are made.
    pub config: Arc<ServerConfig>,
    /// When its certificate ends.
    pub ends: Option<DateTime<Utc>>,
}

/// The files that a listener's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, and the authorities between that and the root.
    pub certificate: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
    /// The authorities by which callers are known.
    pub client_ca: Option<PathBuf>,
    /// Whether a caller without a certificate is not served.
    pub certificates_required: bool,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Where the socket file is made.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A listening socket that whoever starts the process passes to it under this name (`sd_listen_fds`): TCP or Unix.
    Systemd(Arc<str>),
}

/// Which `Host` values are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// None are configured: those of this machine; on a Unix socket it is not looked at.
    Default,
    /// Whatever the request says.
    Any,
    /// These names, in lower case, with any port; an IPv6 address stands in brackets, as in the header.
    Names(Vec<Arc<str>>),
}

/// Where health and metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// The address.
    pub bind: SocketAddr,
    /// The names that it answers to, besides every address.
    pub hosts: Hosts,
}

/// Where operators intervene: a Unix socket, so that the file system says who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the socket file is made.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// One named credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Its name.
    pub name: Arc<str>,
    /// Where it comes from; paths are resolved.
    pub source: Source,
}

impl Bind {
    /// Whether only this machine can reach it. `None` where that is known once the socket is there.
    pub fn is_local(&self) -> Option<bool> {
        match self {
            Self::Tcp(address) => Some(address.ip().is_loopback()),
            Self::Unix { .. } => Some(true),
            Self::Systemd(_) => None,
        }
    }
}

/// As it is written in the file.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// A `Host` without its port. `None` where that is none.
fn without_port(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        // A colon inside brackets is an IPv6 address's, not a port's.
        Some((name, port)) if !port.contains(']') => {
            let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
            is_port.then_some(name)
        }
        _ => Some(host),
    }
}

impl Hosts {
    /// Whether a request with this `Host` is for us. Host names know no case; any port will do that can be one.
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

    /// The same, where every address and `localhost` are for us too. A page that was rebound to an address sends the
    /// name that it was loaded from.
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
