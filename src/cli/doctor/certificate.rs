//! Diagnoses server certificates: the subject, the issuer, and why one is not accepted.

use std::{io, net::IpAddr};

use chrono::{DateTime, TimeDelta, Utc};
use rustls::{CertificateError as Problem, pki_types::CertificateDer};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use super::finding::{Finding, format_span, rfc3339};
use crate::clock;

/// The facts of a certificate.
pub(super) struct Certificate {
    subject: String,
    issuer: String,
    names: Vec<String>,
    expires_at: DateTime<Utc>,
}

impl Certificate {
    /// Parses a certificate. `None` if it is malformed.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let expires_at = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)?;
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            expires_at,
        })
    }

    /// Adds the certificate to the finding of its handshake.
    pub(super) fn describe(&self, finding: Finding) -> Finding {
        finding
            .fact("subject", &*self.subject)
            .fact("issuer", &*self.issuer)
            .fact("names", self.names.clone())
            .fact("expires_at", rfc3339(self.expires_at))
            .fact("expires_in_days", self.left().num_days())
    }

    /// Describes its subject, issuer and validity.
    pub(super) fn summary(&self) -> String {
        let Self { issuer, names, .. } = self;
        let names = if names.is_empty() { self.subject.clone() } else { names.join(", ") };
        format!("for {names}, issued by {issuer}, expires in {}", format_span(self.left()))
    }

    /// Whether it expires soon.
    pub(super) fn ends_soon(&self) -> bool {
        self.left() < EXPIRY_WARNING
    }

    fn left(&self) -> TimeDelta {
        self.expires_at - clock::now()
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        let GeneralName::IPAddress(bytes) = name else { return None };
        let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
        v4.or(v6).ok().map(|ip| ip.to_string())
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// Describes why a handshake failed, and what to do about it.
pub(super) fn failure(error: &io::Error, certificate: Option<&Certificate>) -> (String, String) {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let (Some(rustls::Error::InvalidCertificate(problem)), Some(certificate)) = (tls, certificate) else {
        return match tls {
            Some(rustls::Error::InvalidMessage(_)) => (
                "the endpoint does not speak TLS".into(),
                "check for an http:// endpoint or a wrong port".into(),
            ),
            Some(other) => (format!("the handshake failed: {other}"), AGREE.into()),
            None => (format!("the handshake was cut off: {error}"), WHO_BREAKS.into()),
        };
    };
    let Certificate { issuer, names, expires_at, .. } = certificate;
    let (message, hint) = if let Problem::Expired | Problem::ExpiredContext { .. } = problem {
        (
            format!("its certificate expired on {}", expires_at.format("%Y-%m-%d")),
            "renew it, or set the clock",
        )
    } else if let Problem::NotValidYet | Problem::NotValidYetContext { .. } = problem {
        ("its certificate is not valid yet".into(), "set the clock")
    } else if let Problem::UnknownIssuer = problem {
        (format!("its certificate has the untrusted issuer {issuer}"), KNOW_ISSUER)
    } else if let Problem::NotValidForName | Problem::NotValidForNameContext { .. } = problem {
        (format!("its certificate is for another name: {}", names.join(", ")), RIGHT_NAME)
    } else {
        (format!("invalid certificate: {problem}"), "replace its certificate")
    };
    let clock =
        hint.ends_with("clock").then(|| format!("; by this machine's it is {}", rfc3339(clock::now())));
    (message, format!("{hint}{}", clock.unwrap_or_default()))
}

/// Long enough to renew by hand.
const EXPIRY_WARNING: TimeDelta = TimeDelta::days(14);
const KNOW_ISSUER: &str = "if this is your own CA, or that of a TLS-inspecting proxy, set `upstream.ca_file` to its \
                           certificate; if not, the connection may be intercepted";
const RIGHT_NAME: &str = "correct the endpoint, or get a certificate with its name; if both are right, the connection may be \
                          intercepted";
const AGREE: &str = "the other side must offer TLS 1.2 or 1.3 with modern ciphers";
const WHO_BREAKS: &str =
    "find out what closes the connection: the endpoint, or a firewall that filters by name";
