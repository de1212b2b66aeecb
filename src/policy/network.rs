//! IP networks in CIDR notation, for the operator `IpAddress`.
//!
//! An IPv4 address and its IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) are the same address here, whichever of the two the
//! kernel or the policy uses.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// An IP network, never of IPv4-mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(IpNet);

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor an address with a prefix length.
    #[error("a network is an address such as 10.2.0.1, or a range such as 10.2.0.0/16")]
    Malformed,
    /// The prefix length is larger than the address.
    #[error("the prefix length must be /0 to /{0}")]
    Prefix(u8),
    /// The address has host bits set, so its meaning is ambiguous.
    #[error("the address has bits set outside the range {0}")]
    HostBits(Box<str>),
}

impl Network {
    /// Parses an address or a network in CIDR notation.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub(super) fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let whole = IpNet::from(address);
        let prefix =
            prefix.map_or(Some(whole.max_prefix_len()), prefix_length).ok_or(NetworkError::Malformed)?;
        let range = IpNet::new(address, prefix).map_err(|_| NetworkError::Prefix(whole.max_prefix_len()))?;
        if range.trunc() != range {
            return Err(NetworkError::HostBits(range.trunc().to_string().into()));
        }
        Ok(Self(unmapped(range)))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Parses a prefix length. Digits only: `parse` alone would also accept `+8`.
fn prefix_length(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Converts a network of IPv4-mapped addresses to IPv4. A larger network stays IPv6.
fn unmapped(range: IpNet) -> IpNet {
    let mapped = || {
        let IpAddr::V4(first) = range.network().to_canonical() else { return None };
        Ipv4Net::new(first, range.prefix_len().checked_sub(MAPPED_BITS)?).ok()
    };
    if range.network().is_ipv6() { mapped().map_or(range, IpNet::V4) } else { range }
}

/// The bits before the IPv4 address in an IPv4-mapped one.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_that_starts_with_the_same_bits() {
        for (network, inside, outside) in [
            ("10.2.0.0/16", &["10.2.0.0", "10.2.255.255", "::ffff:10.2.3.4"][..], &["10.3.0.0", "a02::"][..]),
            ("10.2.3.4", &["10.2.3.4", "::ffff:a02:304"], &["10.2.3.5", "::a02:304"]),
            ("0.0.0.0/0", &["10.2.3.4", "::ffff:10.2.3.4"], &["::1", "::"]),
            ("::ffff:10.2.0.0/112", &["10.2.3.4", "::ffff:10.2.3.4"], &["10.3.0.0"]),
            ("::ffff:0:0/96", &["10.2.3.4"], &["::1"]),
            ("2001:db8::/33", &["2001:db8::", "2001:db8:7fff::1"], &["2001:db8:8000::", "10.2.3.4"]),
            ("::1", &["::1"], &["127.0.0.1", "::"]),
            ("::/0", &["::1", "2001:db8::"], &["10.2.3.4", "::ffff:10.2.3.4"]),
        ] {
            let parsed = Network::parse(network).unwrap();
            for address in inside {
                assert!(parsed.contains(address.parse().unwrap()), "{address} is in {network}");
            }
            for address in outside {
                assert!(!parsed.contains(address.parse().unwrap()), "{address} is not in {network}");
            }
        }
    }

    #[test]
    fn whatever_is_not_a_network_in_one_reading_is_refused() {
        use NetworkError::{HostBits, Malformed, Prefix};
        for (text, expected) in [
            ("", Malformed),
            ("10.2", Malformed),
            ("10.2.0.0/", Malformed),
            ("10.2.0.0/+8", Malformed),
            ("10.2.0.0/a", Malformed),
            ("10.2.0.0/16/8", Malformed),
            ("10.2.0.256", Malformed),
            ("010.2.0.0", Malformed),
            ("10.2.0.0:80", Malformed),
            ("media-prod", Malformed),
            ("10.2.0.0/33", Prefix(32)),
            ("::/129", Prefix(128)),
            ("10.2.3.4/16", HostBits("10.2.0.0/16".into())),
            ("2001:db8::1/32", HostBits("2001:db8::/32".into())),
        ] {
            assert_eq!(Network::parse(text), Err(expected), "{text}");
        }
    }
}
