//! Where is upstream? A scheme, a host and a port from the configuration, and nothing else.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The origin of an upstream: `https://HOST[:PORT]`, or `http://` for a test server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    tls: bool,
    host: Box<str>,
    port: u16,
    authority: Box<str>,
}

/// Why a text is not an endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It starts with neither `https://` nor `http://`.
    #[error("an endpoint starts with https://")]
    Scheme,
    /// Something follows the host and port.
    #[error("an endpoint is a scheme, a host and perhaps a port: no path, query or user")]
    MoreThanOrigin,
    /// The host is empty or has a character no host has.
    #[error("the host is not a DNS name or an IP address")]
    Host,
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
        let port = port.map(|p| p.parse().ok().filter(|p| *p > 0).ok_or(EndpointError::Port)).transpose()?;
        let default = if tls { 443 } else { 80 };
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase().into(),
            port: port.unwrap_or(default),
            authority: authority.to_ascii_lowercase().into(),
        })
    }

    /// Whether the connection is made with TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host without brackets: a DNS name, or an IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: host and port as they were written, in lower case.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Host and port, the port always written; an IPv6 address stands in brackets.
    pub(super) fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether it is an address that only leads to this machine or its own link, such as that of the metadata
    /// service.
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

/// As it is written in the configuration.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// The host without brackets, and the text after the port's colon.
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
    Ok((host, port))
}

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
            ("https://mpc.example:0", EndpointError::Port),
            ("https://mpc.example:99999", EndpointError::Port),
            ("https://[::1", EndpointError::Host),
            ("https://[::1]x", EndpointError::Host),
        ] {
            assert_eq!(Endpoint::parse(text), Err(expected), "{text}");
        }
    }
}
