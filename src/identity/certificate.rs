//! Which names does a client certificate hold?
//!
//! It reads certificates whose chain was verified in the TLS handshake, and knows no callers. What it cannot read
//! in one way only proves nobody, and is not passed over in favour of a weaker proof.

use chrono::{DateTime, Utc};
use x509_parser::{extensions::GeneralName, parse_x509_certificate, prelude::X509Certificate};

use super::spiffe::{DnsName, SpiffeId};

/// What a verified client certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    uri: Option<Box<str>>,
    /// In lower case.
    dns: Vec<Box<str>>,
    not_after: DateTime<Utc>,
}

/// Why a certificate proves nobody, although its chain is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read, or not in one way only.
    #[error("the names in the client certificate cannot be read")]
    Unreadable,
    /// An X.509-SVID has exactly one URI name (X509-SVID, section 2), and which of two would count is anybody's guess.
    #[error("the client certificate has more than one URI name")]
    SeveralUris,
    /// It was valid when the connection was made, and is no longer.
    #[error("the client certificate has expired since the connection was made")]
    Expired,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// Where its names are not clear; see [`CertificateError`].
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = parse_x509_certificate(der).map_err(|_| CertificateError::Unreadable)?;
        let not_after = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0);
        let mut this =
            Self { uri: None, dns: Vec::new(), not_after: not_after.ok_or(CertificateError::Unreadable)? };
        if !rest.is_empty() {
            return Err(CertificateError::Unreadable);
        }
        for name in alternative_names(&certificate)? {
            match name {
                GeneralName::URI(_) if this.uri.is_some() => return Err(CertificateError::SeveralUris),
                GeneralName::URI(uri) => this.uri = Some((*uri).into()),
                GeneralName::DNSName(name) => this.dns.push(name.to_ascii_lowercase().into()),
                GeneralName::Invalid(..) => return Err(CertificateError::Unreadable),
                GeneralName::OtherName(..)
                | GeneralName::RFC822Name(_)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        Ok(this)
    }

    /// A connection may outlive the certificate that it was made with.
    pub(super) fn check_at(&self, now: DateTime<Utc>) -> Result<(), CertificateError> {
        if now > self.not_after { Err(CertificateError::Expired) } else { Ok(()) }
    }

    pub(super) fn has_id(&self, id: &SpiffeId) -> bool {
        self.uri.as_deref() == Some(id.as_str())
    }

    pub(super) fn has_name(&self, name: &DnsName) -> bool {
        self.dns.iter().any(|own| **own == *name.as_str())
    }
}

/// The names of the extension. A certificate without it proves nobody; its common name is not looked at.
fn alternative_names<'c>(
    certificate: &'c X509Certificate<'_>,
) -> Result<&'c [GeneralName<'c>], CertificateError> {
    let extension = certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable)?;
    Ok(extension.map_or(&[], |extension| extension.value.general_names.as_slice()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Result<Certificate, CertificateError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der())
    }

    fn text(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(text(name))
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(text(name))
    }

    #[test]
    fn names_are_compared_whole() {
        let id = "spiffe://media.example/ns/prod/sa/cleaner";
        let names = vec![dns("Cleaner.media.svc"), uri(id), dns("other.media.svc")];
        let certificate = certificate(names).unwrap();
        assert!(certificate.has_id(&SpiffeId::parse(id).unwrap()));
        for other in [
            "spiffe://media.example/ns/prod/sa/clean",
            "spiffe://media.example/ns/prod/sa/cleaner2",
            "spiffe://media.example/ns/prod/sa/Cleaner",
            "spiffe://other.example/ns/prod/sa/cleaner",
        ] {
            assert!(!certificate.has_id(&SpiffeId::parse(other).unwrap()), "{other}");
        }
        for (name, expected) in [
            ("cleaner.media.svc", true),
            ("OTHER.media.svc", true),
            ("media.svc", false),
            ("x.cleaner.media.svc", false),
        ] {
            assert_eq!(certificate.has_name(&DnsName::parse(name).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_wildcard_in_a_certificate_is_no_name() {
        let certificate = certificate(vec![dns("*.media.svc")]).unwrap();
        assert!(!certificate.has_name(&DnsName::parse("cleaner.media.svc").unwrap()));
    }

    #[test]
    fn a_certificate_without_names_holds_none() {
        let certificate = certificate(vec![]).unwrap();
        assert_eq!((&certificate.uri, certificate.dns.len()), (&None, 0));
    }

    #[test]
    fn two_uri_names_are_one_too_many() {
        let names = vec![uri("spiffe://media.example/a"), uri("https://media.example/a")];
        assert_eq!(certificate(names), Err(CertificateError::SeveralUris));
    }

    #[test]
    fn a_certificate_counts_until_it_expires() {
        let certificate = certificate(vec![]).unwrap();
        let at = |text: &str| certificate.check_at(text.parse().unwrap());
        assert_eq!(at("2029-12-31T23:59:59Z"), Ok(()));
        assert_eq!(at("2030-01-01T00:00:01Z"), Err(CertificateError::Expired));
    }

    #[test]
    fn what_is_no_certificate_is_unreadable() {
        let key = KeyPair::generate().unwrap();
        let der = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        assert!(Certificate::parse(&der).is_ok());
        let trailing = [der.as_slice(), b"\0"].concat();
        for bytes in [&b""[..], b"garbage", &der[..der.len() - 1], &trailing] {
            assert_eq!(Certificate::parse(bytes), Err(CertificateError::Unreadable));
        }
    }
}
