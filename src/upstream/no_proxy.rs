//! `NO_PROXY`: the endpoints that are reached directly.
//!
//! There is no standard, so it accepts what curl, Go, Python and the JDK do: names with their subdomains, `.name` and
//! `*.name`, addresses and networks, each with an optional port, separated by commas or spaces. Other entries are kept to be
//! reported: hyper-util's matcher would take them for names that silently exempt nothing.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Endpoint;

/// The exemptions.
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy {
    entries: Vec<Entry>,
    odd: Vec<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    hosts: Hosts,
    /// `None` means any port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// A domain in lower case, including its subdomains.
    Domain(String),
}

impl NoProxy {
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for entry in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()) {
            match Entry::parse(entry) {
                Some(entry) => found.entries.push(entry),
                None => found.odd.push(entry.to_owned()),
            }
        }
        found
    }

    pub(super) fn exempts(&self, endpoint: &Endpoint) -> bool {
        let host = endpoint.host().trim_end_matches('.');
        let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        self.entries.iter().any(|Entry { hosts, port }| {
            port.is_none_or(|port| port == endpoint.port())
                && match hosts {
                    Hosts::All => true,
                    Hosts::Network(network) => ip.is_some_and(|ip| network.contains(&ip)),
                    Hosts::Domain(domain) => {
                        let before = host.strip_suffix(domain.as_str());
                        ip.is_none()
                            && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
                    }
                }
        })
    }

    /// Returns the entries that exempt nothing.
    pub(super) fn odd(&self) -> &[String] {
        &self.odd
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some(network) = network(text) {
            return Some(Self { hosts: Hosts::Network(network), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(network) = network(bare.unwrap_or(host)) {
            return Some(Self { hosts: Hosts::Network(network), port });
        }
        let name = host.trim_end_matches('.');
        let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
        // A name that no endpoint can have exempts nothing.
        let known = Endpoint::parse(&format!("https://{}", name.replace('_', "-"))).is_ok();
        known.then(|| Self { hosts: Hosts::Domain(name.to_ascii_lowercase()), port })
    }
}

/// Parses an address or a network.
fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    address.or_else(|| text.parse::<IpNet>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_exempts_what_they_mean() {
        for (text, endpoint, expected) in [
            ("a.example", "https://a.example", true),
            ("a.example", "https://x.a.example", true),
            ("a.example", "https://xa.example", false),
            (".a.example", "https://x.a.example", true),
            ("*.a.example", "https://x.A.example", true),
            ("*.a.example", "https://b.example", false),
            ("A.Example.", "https://a.example", true),
            ("a.example", "https://a.example.", true),
            ("a.example:443", "https://a.example", true),
            ("a.example:443", "https://a.example:8443", false),
            ("b.example a.example", "https://a.example", true),
            ("b.example,\ta.example ,", "https://a.example", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.3:8443", true),
            ("10.1.2.3:443", "https://10.1.2.3:8443", false),
            ("[fd00::1]", "https://[fd00::1]", true),
            ("[fd00::1]:443", "https://[fd00::1]", true),
            ("fd00::1", "https://[fd00::1]", true),
            ("fd00::/8", "https://[fd00::1]:8443", true),
            ("3", "https://10.1.2.3", false),
            ("*", "https://anything.example", true),
            ("", "https://a.example", false),
        ] {
            let exempt = NoProxy::parse(text).exempts(&Endpoint::parse(endpoint).unwrap());
            assert_eq!(exempt, expected, "{text} {endpoint}");
        }
    }

    #[test]
    fn what_exempts_nothing_is_kept_to_be_told() {
        let text =
            "a.example, http://b.example, *c, d*.example 10.0.0.0/33,e:port,10.1,<local>,a..b,f.example/x";
        let odd = [
            "http://b.example",
            "*c",
            "d*.example",
            "10.0.0.0/33",
            "e:port",
            "10.1",
            "<local>",
            "a..b",
            "f.example/x",
        ];
        assert_eq!(NoProxy::parse(text).odd(), odd);
    }
}
