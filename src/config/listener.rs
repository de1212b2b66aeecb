//! The items of `listeners`, and the sockets of `ops` and `admin`.

use super::declare::*;
use super::settings::{Admin, Bind, Hosts, Listener, ListenerTls};
use super::tls::{ParsedTls, TLS};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

section! {
    /// An address that callers connect to.
    pub(super) struct RawListener, "a listener" {
        /// Its name, which policies and audit records use.
        name: Located<Arc<str>> = NAME, required("app");
        /// HOST:PORT, unix:PATH or systemd:NAME.
        bind: Located<Bind> = BIND, required("127.0.0.1:8080");
        /// The socket's permissions, in quotes.
        mode: Located<u32> = MODE, optional("`\"0660\"`");
        /// Accepted values of `Host`, or `any`; required if other machines can connect.
        hosts: Hosts = HOSTS, optional("this machine's names; any on a Unix socket");
        /// Accept bearer tokens here.
        bearer: bool = Switch, default(false);
        /// Accept that only the network authenticates callers: use it only where the network encrypts.
        unsafe_listen: bool = Switch, default(false);
        /// TLS 1.2 and 1.3; the files are reloaded when they change.
        tls: Located<ParsedTls> = TLS, optional("plain HTTP");
    }
}

section! {
    /// The operators' Unix socket, protected by its file permissions.
    struct RawAdmin, "`admin`" {
        /// The path of a Unix socket, as unix:PATH.
        bind: Located<Bind> = ADMIN_BIND, required("unix:/run/mpc-auth-proxy/admin.sock");
        /// The socket's permissions, in quotes: who may operate the proxy.
        mode: Located<u32> = MODE, optional("`\"0600\"`");
    }
}

impl RawListener {
    /// Whether it has TLS that serves callers without a certificate, and no `unsafe_listen`.
    pub(super) fn proves_nothing(&self) -> bool {
        !self.unsafe_listen && self.tls.as_ref().is_some_and(|tls| !tls.value.files.certificates_required)
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| *own.value == *name)
    }

    pub(super) fn is_remote(&self) -> bool {
        self.bind.as_ref().is_some_and(|bind| bind.value.is_local() == Some(false))
    }

    /// Resolves it, if all of it could be read. `identifies` says whether reaching it identifies a caller.
    pub(super) fn resolve(&self, identifies: bool) -> Option<Listener> {
        let hosts = self.hosts.clone()?;
        let guarded = self.unsafe_listen || self.tls.is_some();
        Some(Listener {
            name: self.name.as_ref()?.value.clone(),
            bind: self.bind.as_ref()?.value.clone(),
            bearer: self.bearer,
            tls: self.tls.as_ref().map(|tls| tls.value.files.clone()),
            may_be_remote: guarded && hosts != Hosts::Default && !(identifies && self.proves_nothing()),
            hosts,
        })
    }

    pub(super) fn tls(&self) -> Option<(Arc<str>, ListenerTls)> {
        Some((self.name.as_ref()?.value.clone(), self.tls.as_ref()?.value.tls.clone()))
    }

    pub(super) fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.value.files.client_ca.is_some())
    }

    /// Whether its callers connect, or may connect, over TCP from this machine only.
    pub(super) fn is_loopback(&self) -> bool {
        self.bind.as_ref().is_some_and(|bind| match &bind.value {
            Bind::Tcp(address) => address.ip().is_loopback(),
            Bind::Unix { .. } => false,
            Bind::Systemd(_) => true,
        })
    }
}

pub(super) const LISTENER: CustomKind<RawListener> = own(read, RawListener::shape);
pub(super) const ADMIN: CustomKind<Admin> = own(admin, RawAdmin::shape);
/// `HOST:PORT` with a numeric address or `localhost`.
pub(super) const SOCKET_ADDRESS: AtKey<CustomKind<SocketAddr>> =
    AtKey(own(socket_address, || Shape::pattern("HOST:PORT", TCP)));
pub(super) const HOSTS: CustomKind<Hosts> = own(hosts, || {
    let name = Shape::bare("a host name", HOST);
    Shape::Either(vec![Shape::Words(vec!["any".into()]), Shape::List(name.into())])
});
const BIND: AtKey<CustomKind<Bind>> = AtKey(own(bind, || {
    let unix = Shape::pattern("unix:PATH", UNIX);
    let systemd = Shape::pattern("systemd:NAME", "^systemd:[!-9;-~]{1,255}$");
    Shape::Either(vec![Shape::pattern("HOST:PORT", TCP), unix, systemd])
}));
const ADMIN_BIND: AtKey<CustomKind<Bind>> = AtKey(own(bind, || Shape::pattern("unix:PATH", UNIX)));
const MODE: AtKey<CustomKind<u32>> =
    AtKey(own(mode, || Shape::bare("octal permissions in quotes", "^0?[67][0-7][0-7]$")));
const TCP: &str = r"^(localhost|[0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}$";
const UNIX: &str = "^unix:.+$";
const HOST: &str = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$";

fn read(source: &SourceFile, node: &Node) -> Option<RawListener> {
    let mut listener = RawListener::read(source, node)?;
    for_its_kind(source, &mut listener);
    let Some(Located { value, place }) = &listener.bind else { return Some(listener) };
    let is_remote = value.is_local() == Some(false);
    // An unreadable part may be the one that makes it safe.
    if is_remote && !(listener.unsafe_listen || node.get("tls").is_some()) {
        let message = "other machines can reach this address, and callers need no credentials";
        let hint = "bind 127.0.0.1 or unix:PATH, add `tls`, or accept it with `unsafe_listen: true`";
        source.error(*place, message, hint);
    }
    if node.get("hosts").is_none() {
        if is_remote {
            let message = "a listener that other machines can reach needs `hosts`";
            let hint = "add `hosts: [NAME]` with the names callers use in its URL, or `hosts: any`";
            source.error(*place, message, hint);
        } else {
            listener.hosts = Some(Hosts::Default);
        }
    }
    Some(listener)
}

/// Checks keys that apply to one kind of socket only.
fn for_its_kind(source: &SourceFile, RawListener { bind, mode, tls, .. }: &mut RawListener) {
    let Some(Located { value, .. }) = bind else { return };
    if let (Bind::Unix { .. }, Some(tls)) = (&*value, tls) {
        source.error(tls.place, "`tls` requires TCP", "remove it: a Unix socket needs no encryption");
    }
    match (value, mode) {
        (Bind::Unix { mode, .. }, Some(written)) => *mode = written.value,
        (Bind::Tcp(_), Some(mode)) => {
            source.error(mode.place, "`mode` is for Unix sockets only", "remove it, or bind unix:PATH");
        }
        (Bind::Systemd(_), Some(mode)) => {
            let message = "`mode` is for sockets that the proxy creates";
            source.error(mode.place, message, "remove it, and set `SocketMode=` in the socket's unit");
        }
        (_, None) => {}
    }
}

fn admin(source: &SourceFile, node: &Node) -> Option<Admin> {
    let RawAdmin { bind, mode } = RawAdmin::read(source, node)?;
    let Located { value, place } = bind?;
    let Bind::Unix { path, .. } = value else {
        let message = "the admin socket must be a Unix socket: its permissions control access";
        return source.reject(place, message, "write unix:/run/mpc-auth-proxy/admin.sock");
    };
    Some(Admin { path, mode: mode.map_or(OWNER_ONLY, |mode| mode.value) })
}

fn socket_address(source: &SourceFile, node: &Node) -> Option<SocketAddr> {
    let expected = "an address such as 127.0.0.1:8080";
    let hint = "write HOST:PORT: 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 for all";
    if matches!(node.value, Value::Integer(_) | Value::Number) {
        return source.reject(node.place, format!("expected {expected}, found a number"), hint);
    }
    let text = scalar::text(source, node, expected)?;
    let address = match text.rsplit_once(':') {
        Some(("localhost", port)) => {
            port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        _ => text.parse().ok(),
    };
    if address.is_some_and(|address| address.port() == 0) {
        source.warning(node.place, "port 0 is a different port at every start", "choose a fixed port");
    }
    address.or_else(|| source.reject(node.place, format!("`{text}` is not {expected}"), hint))
}

fn bind(source: &SourceFile, node: &Node) -> Option<Bind> {
    let text = source.scalar(node).unwrap_or_default();
    if let Some(name) = text.strip_prefix("systemd:") {
        return is_descriptor_name(name).then(|| Bind::Systemd(name.into())).or_else(|| {
            let hint = "write the `FileDescriptorName=` of the socket's unit, such as systemd:app";
            source.reject(node.place, format!("`{text}` lacks a socket name"), hint)
        });
    }
    if text.starts_with(['/', '.', '@']) {
        let message = format!("`{text}` is not an address such as 127.0.0.1:8080");
        return source.reject(node.place, message, format!("for a Unix socket, write unix:{text}"));
    }
    let Some(path) = text.strip_prefix("unix:") else { return socket_address(source, node).map(Bind::Tcp) };
    let path = source.resolve(path);
    if path.as_os_str().len() > MAX_SOCKET_PATH || text == "unix:" {
        let message = format!("a socket path must be 1 to {MAX_SOCKET_PATH} bytes");
        let hint = "choose another, such as unix:/run/mpc-auth-proxy/proxy.sock";
        return source.reject(node.place, message, hint);
    }
    Some(Bind::Unix { path, mode: DEFAULT_MODE })
}

/// Whether it is a valid descriptor name of systemd.
fn is_descriptor_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b':';
    (1..=MAX_DESCRIPTOR_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

fn mode(source: &SourceFile, node: &Node) -> Option<u32> {
    let hint = "write it in quotes: \"0660\"";
    let Some(text) = source.scalar(node) else {
        return source.reject(node.place, "expected permissions as text", hint);
    };
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && *mode & 0o600 == 0o600);
    mode.filter(|_| (3..=4).contains(&text.len())).or_else(|| {
        let message = format!("`{text}` is not an octal mode with owner read and write");
        source.reject(node.place, message, hint)
    })
}

fn hosts(source: &SourceFile, node: &Node) -> Option<Hosts> {
    if let Value::Text(text) = &node.value {
        let hint = match text.to_ascii_lowercase().as_str() {
            _ if text == "any" => return Some(Hosts::Any),
            "any" | "*" => "to accept every name, write `any`".into(),
            _ => format!("write [{text}]"),
        };
        return source.reject(node.place, "expected a list of names, or any", hint);
    }
    let nodes = list(source, node, "a list of host names, or any");
    let names: Vec<Arc<str>> = nodes.iter().filter_map(|node| host(source, node)).collect();
    (!names.is_empty() && names.len() == nodes.len()).then_some(Hosts::Names(names))
}

fn host(source: &SourceFile, node: &Node) -> Option<Arc<str>> {
    if let Value::List(_) = node.value {
        let hint = "an IPv6 address needs quotes: \"[::1]\"";
        return source.reject(node.place, "expected a host name, found a list", hint);
    }
    let text = scalar::text(source, node, "a host name")?;
    let ipv6 = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ipv6 = ipv6.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    let name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if ipv6 || name {
        return Some(text.to_ascii_lowercase().into());
    }
    let hint = match text {
        "*" => "to accept every name, write `hosts: any`",
        _ => "write a name or address without scheme and port: any port is accepted",
    };
    source.reject(node.place, format!("`{text}` is not a host name"), hint)
}

/// The capacity of `sun_path`, without its final zero.
const MAX_SOCKET_PATH: usize = 107;
const MAX_DESCRIPTOR_NAME: usize = 255;
const OWNER_ONLY: u32 = 0o600;
const DEFAULT_MODE: u32 = 0o660;
