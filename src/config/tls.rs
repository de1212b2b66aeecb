//! The section `tls` of a listener.
//!
//! The TLS configuration is created here with each load, so that a certificate without its key is reported with its
//! location, and a reload applies certificates and policy together.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_parser::parse_x509_certificate;

use super::declare::*;
use super::files::{self, AUTHORITIES, Certificates, LoadedPem};
use super::settings::{ListenerTls, TlsFiles};
use crate::{chain::BoundedVerifier, clock, pem};

/// A listener's TLS as written, and its TLS configuration.
pub(super) struct ParsedTls {
    pub(super) files: TlsFiles,
    pub(super) tls: ListenerTls,
}

section! {
    /// A listener's certificate, key and client authorities.
    struct RawTls, "`tls`", [Rule::Needs("client_certificates", "client_ca")] {
        /// The listener's certificate first, then the intermediates.
        certificate: LoadedPem<Certificates> =
            own(|source, node| files::pem(source, node, pem::certificates), files::path_shape),
            required("tls/tls.crt");
        /// The key of the certificate.
        key: LoadedPem<PrivateKeyDer<'static>> =
            own(|source, node| files::secret_pem(source, node, pem::private_key), files::path_shape),
            required("tls/tls.key");
        /// The authorities that issue callers' certificates.
        client_ca: LoadedPem<Certificates> = AUTHORITIES, optional("no client certificate is requested");
        /// With `optional`, tokens and signatures authenticate callers too.
        client_certificates: Located<bool> = AtKey(Words([("required", true), ("optional", false)])),
            optional("`required`");
    }
}

pub(super) const TLS: AtKey<CustomKind<ParsedTls>> = AtKey(own(read, RawTls::shape));

fn read(source: &SourceFile, node: &Node) -> Option<ParsedTls> {
    let RawTls { certificate, key, client_ca, client_certificates: parsed } = RawTls::read(source, node)?;
    let asks = node.get("client_ca").is_some();
    if let Some(Located { place, .. }) = parsed.as_ref().filter(|_| !asks) {
        let message = "`client_certificates` requires `client_ca`";
        source.error(*place, message, "add `client_ca`, or remove this");
    }
    let required = asks && parsed.is_none_or(|parsed| parsed.value);
    let (certificate, key) = (certificate?, key?);
    // An unreadable file must not lead to a listener that requests no certificates.
    if asks && client_ca.is_none() {
        return None;
    }
    let files = TlsFiles {
        certificate: certificate.path.clone(),
        key: key.path.clone(),
        client_ca: client_ca.as_ref().map(|ca| ca.path.clone()),
        certificates_required: required,
    };
    let validity = certificate.value.first().and_then(validity);
    if let Some(validity) = &validity {
        warn_of_expiry(source, &certificate, validity);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certified = certified(source, certificate, key, &provider)?;
    let authorities = client_ca.map(|authorities| authorities.value);
    let config = server_config(certified, authorities, required, provider)
        .map_err(|error| source.error(node.place, format!("TLS cannot be set up: {error}"), CA_HINT))
        .ok()?;
    let tls = ListenerTls { config: Arc::new(config), ends: validity.map(|validity| validity.end) };
    Some(ParsedTls { files, tls })
}

fn certified(
    source: &SourceFile,
    certificate: LoadedPem<Certificates>,
    key: LoadedPem<PrivateKeyDer<'static>>,
    provider: &CryptoProvider,
) -> Option<CertifiedKey> {
    let error = match CertifiedKey::from_der(certificate.value, key.value, provider) {
        Ok(certified) => return Some(certified),
        Err(error) => error,
    };
    let (certificate_path, key_path) = (certificate.path.display(), key.path.display());
    let (place, message, hint) = if matches!(error, rustls::Error::InconsistentKeys(_)) {
        (
            key.place,
            format!("the key in {key_path} does not match the first certificate in {certificate_path}"),
            "put the listener's certificate first, then its issuers",
        )
    } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
        (
            certificate.place,
            format!("the first certificate in {certificate_path} cannot be used"),
            "it must be an X.509 certificate, version 3",
        )
    } else {
        (
            key.place,
            format!("the key in {key_path} cannot be used"),
            "use RSA of at least 2048 bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
        )
    };
    source.reject(place, message, hint)
}

/// Requests client certificates if there are authorities, and requires them if `required`.
fn server_config(
    certified: CertifiedKey,
    authorities: Option<Certificates>,
    required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        // 1.2 and 1.3.
        .with_safe_default_protocol_versions()?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in authorities {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build()?;
            builder.with_client_cert_verifier(Arc::new(BoundedVerifier::new(verifier)))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not have its certificate verified again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Warns of a certificate that has expired or expires soon.
fn warn_of_expiry(
    source: &SourceFile,
    certificate: &LoadedPem<Certificates>,
    Range { start, end }: &Range<DateTime<Utc>>,
) {
    let (now, path) = (clock::now(), certificate.path.display());
    let day = |time: &DateTime<Utc>| time.format("%Y-%m-%d");
    let message = if now < *start {
        format!("the certificate in {path} is not valid before {}", day(start))
    } else if now > *end {
        format!("the certificate in {path} expired on {}", day(end))
    } else if now + EXPIRY_WARNING > *end {
        format!("the certificate in {path} expires on {}", day(end))
    } else {
        return;
    };
    source.warning(certificate.place, message, "renew it: the file can be replaced while the proxy runs");
}

fn validity(certificate: &CertificateDer<'_>) -> Option<Range<DateTime<Utc>>> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let time = |time: x509_parser::time::ASN1Time| DateTime::from_timestamp(time.timestamp(), 0);
    Some(time(certificate.validity().not_before)?..time(certificate.validity().not_after)?)
}

/// Short, because certificates of a mesh live for hours and are renewed at half of that.
const EXPIRY_WARNING: TimeDelta = TimeDelta::hours(1);
const CA_HINT: &str = "`client_ca` must contain the CA certificates that issue callers' certificates";
