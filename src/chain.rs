//! Bounds certificate chains before they are verified.
//!
//! A peer may send any number of certificates. Finding a path to a trusted authority takes more than linear time: some forty
//! certificates with a few names take seconds to reject. So [`BoundedVerifier`] counts first, for callers' and upstreams'
//! certificates. It verifies nothing itself.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_parser::parse_x509_certificate;

/// A verifier that rejects chains beyond the bounds, and delegates the others.
#[derive(Debug)]
pub struct BoundedVerifier<V: ?Sized>(Arc<V>);

/// The bound that a chain exceeds.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There are too many certificates.
    #[error("more than {MAX_INTERMEDIATES} intermediate certificates")]
    Long,
    /// They have too many bytes.
    #[error("more than {MAX_BYTES} bytes of certificates")]
    Large,
    /// Too many have the same name, so that each would be another path to try.
    #[error("more than {MAX_NAMESAKES} certificates with one name")]
    Namesakes,
}

/// Formats like Display, because rustls logs foreign errors by Debug.
impl fmt::Debug for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<V: ?Sized> BoundedVerifier<V> {
    /// Wraps a verifier.
    pub fn new(verifier: Arc<V>) -> Self {
        Self(verifier)
    }
}

/// Formats a TLS error in words: rustls prints some of its errors as Rust values. Other errors stay as they are.
pub fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let inner = inner.and_then(|inner| inner.downcast_ref::<Error>());
    match error.downcast_ref::<Error>().or(inner) {
        Some(Error::InvalidCertificate(problem)) => {
            format!("invalid peer certificate: {}", of_certificate(problem))
        }
        Some(Error::AlertReceived(alert)) => {
            format!("the peer sent the alert `{}`", spaced(alert.as_str().unwrap_or("unknown")))
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

fn of_certificate(problem: &CertificateError) -> String {
    if let CertificateError::Other(OtherError(inner)) = problem {
        return inner.to_string();
    }
    let text = problem.to_string();
    // The name of a variant, such as `UnknownIssuer`.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) { spaced(&text) } else { text }
}

/// Turns `UnknownIssuer` into `unknown issuer`.
fn spaced(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            text.push(' ');
        }
        after_lower = letter.is_ascii_lowercase();
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn check(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
    within_bounds(end_entity, intermediates)
        .map_err(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
}

fn within_bounds(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), ChainError> {
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(ChainError::Long);
    }
    if end_entity.len() + intermediates.iter().map(|der| der.len()).sum::<usize>() > MAX_BYTES {
        return Err(ChainError::Large);
    }
    // Certificates that cannot be parsed here are left to the strict verifier.
    let parsed: Vec<_> = intermediates.iter().filter_map(|der| parse_x509_certificate(der).ok()).collect();
    let names = || parsed.iter().map(|(_, certificate)| certificate.subject().as_raw());
    if names().any(|name| names().filter(|other| *other == name).count() > MAX_NAMESAKES) {
        return Err(ChainError::Namesakes);
    }
    Ok(())
}

/// Delegates signatures to the verifier.
macro_rules! signatures {
    ($($verify:ident)*) => {
        $(fn $verify(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.$verify(message, certificate, signature)
        })*

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    };
}

impl<V: ClientCertVerifier + ?Sized> ClientCertVerifier for BoundedVerifier<V> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(end_entity, intermediates)?;
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    signatures!(verify_tls12_signature verify_tls13_signature);
}

impl<V: ServerCertVerifier + ?Sized> ServerCertVerifier for BoundedVerifier<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check(end_entity, intermediates)?;
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    signatures!(verify_tls12_signature verify_tls13_signature);
}

/// The maximum number of intermediates. The public web has one or two.
const MAX_INTERMEDIATES: usize = 4;
/// The maximum size of a chain. The public web has 3 to 6 KB.
const MAX_BYTES: usize = 16 * 1024;
/// The maximum number of certificates with one name. An authority that is signed by two others has two.
const MAX_NAMESAKES: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

    use super::*;

    /// Counts verifications, and rejects all.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Counting {
        fn refuse(&self) -> Error {
            self.0.fetch_add(1, Relaxed);
            CertificateError::UnknownIssuer.into()
        }
    }

    /// Methods that are called only after a chain was accepted, which never happens here.
    macro_rules! unasked {
        ($($verify:ident)*) => {
            $(fn $verify(
                &self,
                _: &[u8],
                _: &CertificateDer<'_>,
                _: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                Err(self.refuse())
            })*

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                Vec::new()
            }
        };
    }

    impl ClientCertVerifier for Counting {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            Err(self.refuse())
        }

        unasked!(verify_tls12_signature verify_tls13_signature);
    }

    impl ServerCertVerifier for Counting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Err(self.refuse())
        }

        unasked!(verify_tls12_signature verify_tls13_signature);
    }

    /// Returns an authority's certificate signed by another, with this number of alternative names.
    fn authority(name: &str, issuer: &str, names: usize) -> CertificateDer<'static> {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = KeyPair::generate().unwrap();
        let mut own = params(name);
        let long = format!("{}.example", "a".repeat(60));
        own.subject_alt_names = vec![SanType::DnsName(long.try_into().unwrap()); names];
        own.signed_by(&key, &Issuer::from_params(&params(issuer), &key)).unwrap().der().clone()
    }

    /// Returns whether both verifiers get the chain, or the error if not.
    fn judged(chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let verifier = Arc::new(Counting::default());
        let bounded = BoundedVerifier::new(Arc::clone(&verifier));
        let (own, rest) = chain.split_first().unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = bounded.verify_client_cert(own, rest, UnixTime::now()).unwrap_err();
        let server = bounded.verify_server_cert(own, rest, &name, &[], UnixTime::now()).unwrap_err();
        assert_eq!(client.to_string(), server.to_string());
        match verifier.0.load(Relaxed) {
            0 => Err(client.to_string()),
            verified => {
                assert_eq!(verified, 2);
                Ok(())
            }
        }
    }

    #[test]
    fn a_chain_that_takes_long_to_verify_is_not_verified() {
        // Six levels of eight authorities with one name each: 300,000 paths.
        let levels: Vec<_> = (0..6)
            .flat_map(|level| {
                let issuer = format!("level {}", level + 1);
                (0..8).map(move |_| authority(&format!("level {level}"), &issuer, 0))
            })
            .collect();
        let own = || vec![authority("own", "level 0", 0)];
        let long = judged(&[own(), levels].concat()).unwrap_err();
        assert!(long.contains("more than 4 intermediate certificates"), "{long}");

        let namesakes = (0..3).map(|_| authority("level 0", "level 0", 0)).collect();
        let namesakes = judged(&[own(), namesakes].concat()).unwrap_err();
        assert!(namesakes.contains("more than 2 certificates with one name"), "{namesakes}");

        for large in [
            [own(), vec![authority("level 0", "level 1", 250)]],
            [vec![authority("own", "level 0", 250)], own()],
        ] {
            let large = judged(&large.concat()).unwrap_err();
            assert!(large.contains("more than 16384 bytes"), "{large}");
        }
    }

    #[test]
    fn errors_of_tls_are_told_in_words() {
        let bounds = || Error::from(CertificateError::Other(OtherError(Arc::new(ChainError::Large))));
        for (error, expected) in [
            (bounds(), "invalid peer certificate: more than 16384 bytes of certificates"),
            (CertificateError::UnknownIssuer.into(), "invalid peer certificate: unknown issuer"),
            (
                Error::AlertReceived(rustls::AlertDescription::UnknownCA),
                "the peer sent the alert `unknown ca`",
            ),
            (Error::NoCertificatesPresented, "peer sent no certificates"),
        ] {
            assert_eq!(in_words(&error), expected);
            assert_eq!(in_words(&io::Error::other(error)), expected);
        }
        assert_eq!(in_words(&io::Error::other("as it is")), "as it is");
    }

    #[test]
    fn an_ordinary_chain_is_verified() {
        assert_eq!(judged(&[authority("own", "root", 0)]), Ok(()));
        let cross_signed = ["level 0", "level 1", "level 1", "root"].map(|name| authority(name, "root", 20));
        assert_eq!(judged(&[vec![authority("own", "level 0", 20)], cross_signed.into()].concat()), Ok(()));
        // The verifier says what is wrong with these.
        assert_eq!(judged(&[CertificateDer::from(vec![1]), CertificateDer::from(vec![2])]), Ok(()));
    }
}
