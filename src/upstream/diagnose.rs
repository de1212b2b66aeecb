//! Makes one connection and one request to an endpoint, and reports each step for people.
//!
//! It uses the same dialer as calls, so it meets the same problems and accepts the same certificates. A rejected certificate
//! is reported, too, because an operator needs to know its issuer. It judges nothing and retries nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    DigitallySignedStruct, ProtocolVersion, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::{
    DialerError, Egress, Endpoint, Outbound, Roots, SendError, Timeouts, UpstreamAnswer,
    client::{MAX_BODY, exchange},
    dial::Dialer,
    pool,
    roots::Trust,
};
use crate::chain::BoundedVerifier;

/// The steps that were completed.
pub struct Diagnosis {
    /// The other end of TCP (the egress proxy, if any), and the time it took, including DNS and the proxy's answer.
    pub reached: Option<(SocketAddr, Duration)>,
    /// The negotiated TLS version, and the time it took.
    pub secured: Option<(ProtocolVersion, Duration)>,
    /// The certificate that was presented, whether accepted or not.
    pub certificate: Option<CertificateDer<'static>>,
    /// The answer and the time it took, or why there is none.
    pub answer: Result<(UpstreamAnswer, Duration), SendError>,
}

/// Connects to an endpoint and sends one request.
///
/// # Errors
/// If no connection can be tried. A failed one is reported in the [`Diagnosis`].
pub async fn diagnose(
    endpoint: &Endpoint,
    egress: &Egress,
    timeouts: Timeouts,
    request: Outbound,
) -> Result<Diagnosis, DialerError> {
    let certificate = Arc::default();
    let egress = Egress { roots: egress.roots.seen_by(&certificate), proxies: egress.proxies.clone() };
    let dialer = Dialer::new(endpoint, &egress, timeouts.connect)?;
    let mut diagnosis =
        Diagnosis { reached: None, secured: None, certificate: None, answer: Err(SendError::Timeout) };
    diagnosis.answer = diagnosis.make(&dialer, timeouts, request).await;
    diagnosis.certificate = certificate.get().cloned();
    Ok(diagnosis)
}

impl Diagnosis {
    async fn make(
        &mut self,
        dialer: &Dialer,
        timeouts: Timeouts,
        request: Outbound,
    ) -> Result<(UpstreamAnswer, Duration), SendError> {
        let started = Instant::now();
        let deadline = started + timeouts.connect.min(timeouts.attempt);
        let tcp = dialer.reach(deadline).await?;
        self.reached = tcp.peer_addr().ok().map(|address| (address, started.elapsed()));
        let reached = Instant::now();
        let stream = dialer.secure(tcp, deadline).await?;
        self.secured = stream.protocol().map(|version| (version, reached.elapsed()));
        let mut connection = pool::handshake(stream).await?;
        let asked = Instant::now();
        let answer =
            timeout_at(started + timeouts.attempt, exchange(&mut connection, Box::new(request), MAX_BODY))
                .await;
        Ok((answer.map_err(|_| SendError::Timeout)??, asked.elapsed()))
    }
}

impl Roots {
    /// Returns the same dialer, with a recorder of certificates.
    fn seen_by(&self, certificate: &Arc<OnceLock<CertificateDer<'static>>>) -> Self {
        let trust = self.now();
        let verifier = Arc::clone(&trust.verifier);
        let witness =
            CertificateRecorder { verifier: Arc::clone(&verifier), certificate: Arc::clone(certificate) };
        let mut config = (**trust.connector.config()).clone();
        // A resumed session has no certificate.
        config.resumption = Resumption::disabled();
        config.dangerous().set_certificate_verifier(Arc::new(witness));
        Trust { digest: trust.digest, connector: TlsConnector::from(Arc::new(config)), verifier }.into()
    }
}

/// Records the certificate, and leaves its verification to the real verifier.
#[derive(Debug)]
struct CertificateRecorder {
    verifier: Arc<BoundedVerifier<WebPkiServerVerifier>>,
    certificate: Arc<OnceLock<CertificateDer<'static>>>,
}

impl ServerCertVerifier for CertificateRecorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // There is only one handshake.
        drop(self.certificate.set(end_entity.clone().into_owned()));
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
