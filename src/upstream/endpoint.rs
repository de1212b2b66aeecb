//! Endpoint origins: a scheme, a host and a port from the configuration.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rustls::pki_types::ServerName;

/// The origin of an upstream: `https://HOST[:PORT]`, or `http://` for a test server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    tls: bool,
    host: Box<str>,
    /// The name that its certificate must have.
    server_name: ServerName<'static>,
    port: u16,
    authority: Box<str>,
}

/// Why a text is not an endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It starts with neither `https://` nor `http://`.
    #[error("an endpoint must start with https://")]
    Scheme,
    /// Something follows the host and port.
    #[error("an endpoint is a scheme, a host and an optional port: no path, query or user")]
    MoreThanOrigin,
    /// The host is empty or has an invalid character.
    #[error("the host is not a DNS name or an IP address")]
    Host,
    /// The host looks like an IPv4 address but would be looked up as a name.
    #[error("the host is not an IPv4 address: expected four numbers from 0 to 255")]
    Address,
    /// A label of the name is empty, too long, or begins or ends with a hyphen.
    #[error("the host is not a DNS name: each label has 1 to 63 letters, digits and inner hyphens")]
    Label,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl Endpoint {
    /// Parses `https://HOST[:PORT]` or `http://HOST[:PORT]`; a single trailing `/` is allowed.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(EndpointError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(EndpointError::MoreThanOrigin);
        }
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let server_name = ServerName::try_from(host.clone()).map_err(|_| EndpointError::Host)?;
        let port = port.map(|p| p.parse().ok().filter(|p| *p > 0).ok_or(EndpointError::Port)).transpose()?;
        let default = if tls { 443 } else { 80 };
        Ok(Self {
            tls,
            host: host.into(),
            server_name,
            port: port.unwrap_or(default),
            authority: authority.to_ascii_lowercase().into(),
        })
    }

    /// Whether it uses TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the host without brackets: a DNS name or an IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name that its certificate must have.
    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// Returns the port, by default the scheme's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the `Host` header: host and port as written, in lower case.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns `HOST:PORT`, with an IPv6 address in brackets.
    pub(super) fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether it can only lead to this machine.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether its address can only lead to this machine or its link, such as the metadata service's.
    pub fn is_link_local(&self) -> bool {
        match self.ip() {
            Some(IpAddr::V4(ip)) => ip.is_link_local(),
            Some(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
            None => false,
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }
}

/// Formats it as in the configuration.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// Splits into the host without brackets and the text after the port's colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), EndpointError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(EndpointError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| EndpointError::Host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(EndpointError::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(EndpointError::Host);
    }
    is_host(host)?;
    Ok((host, port))
}

/// Checks for an IPv4 address or a name that DNS and certificates allow. Other forms that resolvers take for addresses
/// (`127.1`, `0x7f.1`) are rejected.
fn is_host(host: &str) -> Result<(), EndpointError> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric =
        last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if numeric && !last.is_empty() {
        return host.parse::<Ipv4Addr>().map(drop).map_err(|_| EndpointError::Address);
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > MAX_HOST || !name.split('.').all(is_label) {
        return Err(EndpointError::Label);
    }
    Ok(())
}

/// RFC 1035, section 2.3.4.
const MAX_LABEL: usize = 63;
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_origin() {
        let endpoint = Endpoint::parse("https://MPC.cn-north-4.myhuaweicloud.com/").unwrap();
        assert_eq!((endpoint.tls(), endpoint.port()), (true, 443));
        assert_eq!(endpoint.host(), "mpc.cn-north-4.myhuaweicloud.com");
        assert_eq!(endpoint.authority(), "mpc.cn-north-4.myhuaweicloud.com");
        let endpoint = Endpoint::parse("http://[::1]:8080").unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.authority()), ("::1", 8080, "[::1]:8080"));
        assert!(endpoint.is_loopback());
        for good in
            ["https://a", "https://a.example.", "https://127.0.0.1:8443", "https://7.example", "http://x-1.y"]
        {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        assert!(Endpoint::parse(&format!("https://{}.example", "a".repeat(63))).is_ok());
        assert!(Endpoint::parse("http://127.0.0.2").unwrap().is_loopback());
        assert!(!Endpoint::parse("http://localhost.example").unwrap().is_loopback());
    }

    #[test]
    fn whatever_is_more_or_less_than_an_origin_is_refused() {
        for (text, expected) in [
            ("mpc.example", EndpointError::Scheme),
            ("ftp://mpc.example", EndpointError::Scheme),
            ("https://", EndpointError::Host),
            ("https://mpc.example/v2", EndpointError::MoreThanOrigin),
            ("https://user@mpc.example", EndpointError::MoreThanOrigin),
            ("https://mpc.example?x", EndpointError::MoreThanOrigin),
            ("https://mpc example", EndpointError::Host),
            ("https://127.1:8443", EndpointError::Address),
            ("https://256.1.1.1", EndpointError::Address),
            ("https://1.2.3.4.", EndpointError::Address),
            ("https://1.2.3.04", EndpointError::Address),
            ("https://2130706433", EndpointError::Address),
            ("https://0x7f.1", EndpointError::Address),
            ("http://a.0x1", EndpointError::Address),
            ("https://a..b", EndpointError::Label),
            ("http://a..b", EndpointError::Label),
            ("https://.a", EndpointError::Label),
            ("https://.", EndpointError::Label),
            ("https://-a.example", EndpointError::Label),
            ("https://a-.example", EndpointError::Label),
            (&format!("https://{}.example", "a".repeat(64)), EndpointError::Label),
            (&format!("https://{}example", "abcdefg.".repeat(31)), EndpointError::Label),
            ("https://mpc.example:0", EndpointError::Port),
            ("https://mpc.example:99999", EndpointError::Port),
            ("https://[::1", EndpointError::Host),
            ("https://[::1]x", EndpointError::Host),
        ] {
            assert_eq!(Endpoint::parse(text), Err(expected), "{text}");
        }
    }
}
