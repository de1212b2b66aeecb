//! The names in a client certificate, and how long they are valid.
//!
//! It reads certificates whose chain was verified in the TLS handshake, and knows no callers. An ambiguous certificate
//! identifies nobody, and there is no fallback to a weaker credential.

use chrono::{DateTime, Utc};
use x509_parser::{extensions::GeneralName, parse_x509_certificate, prelude::X509Certificate};

use super::spiffe::{DnsName, SpiffeId};
use crate::reason::Reason;

/// The identity in a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    uri: Option<Box<str>>,
    /// The DNS names in lower case.
    dns: Vec<Box<str>>,
    /// The subject, if there are no names: such a certificate identifies nobody, but an operator wants to know whose it is.
    subject: Option<Box<str>>,
    /// The end of the certificate in the chain that expires first.
    not_after: DateTime<Utc>,
}

/// Why a certificate with a valid chain identifies nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is malformed or ambiguous.
    #[error("{}", Reason::CertificateUnreadable)]
    Unreadable,
    /// It has several URI names. An X.509-SVID has exactly one (X509-SVID, section 2).
    #[error("{}", Reason::CertificateAmbiguous)]
    SeveralUris,
    /// It, or one of its chain, has expired since the connection was made.
    #[error("{}", Reason::CertificateExpired)]
    Expired,
}

impl CertificateError {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Unreadable => Reason::CertificateUnreadable,
            Self::SeveralUris => Reason::CertificateAmbiguous,
            Self::Expired => Reason::CertificateExpired,
        }
    }
}

impl Certificate {
    /// Reads a caller's certificates, in DER, its own first. They were verified at the time `verified`.
    ///
    /// # Errors
    /// If its names are ambiguous; see [`CertificateError`].
    pub fn of_chain<D: AsRef<[u8]>>(chain: &[D], verified: DateTime<Utc>) -> Result<Self, CertificateError> {
        let (own, rest) = chain.split_first().ok_or(CertificateError::Unreadable)?;
        let mut this = Self::parse(own.as_ref())?;
        // Which of the others verified it is not known: any that was valid then may have.
        let others = rest.iter().filter_map(|der| parse_x509_certificate(der.as_ref()).ok());
        let ends = others.filter_map(|(_, other)| not_after(&other));
        this.not_after = ends.filter(|end| *end >= verified).fold(this.not_after, DateTime::min);
        Ok(this)
    }

    fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = parse_x509_certificate(der).map_err(|_| CertificateError::Unreadable)?;
        let not_after = not_after(&certificate).ok_or(CertificateError::Unreadable)?;
        let mut this = Self { uri: None, dns: Vec::new(), subject: None, not_after };
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
        if this.uri.is_none() && this.dns.is_empty() {
            let subject: String = certificate.subject().to_string().chars().take(MAX_SUBJECT).collect();
            this.subject = (!subject.is_empty()).then(|| subject.into());
        }
        Ok(this)
    }

    /// Checks that it is still valid, because a connection may outlive it.
    pub(super) fn check_at(&self, now: DateTime<Utc>) -> Result<(), CertificateError> {
        if now > self.not_after { Err(CertificateError::Expired) } else { Ok(()) }
    }

    /// Returns its name for people: the URI, else the first DNS name, else the subject.
    pub(super) fn name(&self) -> Option<&str> {
        self.uri.as_deref().or_else(|| self.dns.first().map(|name| &**name)).or(self.subject.as_deref())
    }

    pub(super) fn has_id(&self, id: &SpiffeId) -> bool {
        self.uri.as_deref() == Some(id.as_str())
    }

    pub(super) fn has_name(&self, name: &DnsName) -> bool {
        self.dns.iter().any(|own| **own == *name.as_str())
    }
}

fn not_after(certificate: &X509Certificate<'_>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// Returns the subject alternative names. A certificate without them identifies nobody; its common name is ignored.
fn alternative_names<'c>(
    certificate: &'c X509Certificate<'_>,
) -> Result<&'c [GeneralName<'c>], CertificateError> {
    let extension = certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable)?;
    Ok(extension.map_or(&[], |extension| extension.value.general_names.as_slice()))
}

const MAX_SUBJECT: usize = 128;

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
    fn a_certificate_counts_as_long_as_those_it_was_verified_by() {
        let until = |year| {
            let mut params = CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let verified = "2028-06-01T00:00:00Z".parse().unwrap();
        for (years, end) in [
            (&[2030][..], "2030-01-01T00:00:00Z"),
            (&[2030, 2040], "2030-01-01T00:00:00Z"),
            (&[2030, 2040, 2029], "2029-01-01T00:00:00Z"),
            // An expired certificate in the chain verified nothing.
            (&[2030, 2028, 2040], "2030-01-01T00:00:00Z"),
        ] {
            let chain: Vec<_> = years.iter().map(|year| until(*year)).collect();
            let certificate = Certificate::of_chain(&chain, verified).unwrap();
            let end: DateTime<Utc> = end.parse().unwrap();
            assert_eq!(certificate.check_at(end), Ok(()), "{years:?}");
            let later = end + chrono::TimeDelta::seconds(1);
            assert_eq!(certificate.check_at(later), Err(CertificateError::Expired), "{years:?}");
        }
        let none: [&[u8]; 0] = [];
        assert_eq!(Certificate::of_chain(&none, verified), Err(CertificateError::Unreadable));
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
