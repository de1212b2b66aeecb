//! Authorities, their certificates, and TLS connections.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mpc_auth_proxy::clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, NameConstraints, SanType,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use super::{BOUND, Proxy, Setup, Wire};

/// An issuer of certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The intermediate certificates.
    chain: Vec<CertificateDer<'static>>,
}

/// A certificate and its key.
pub(crate) struct Holder {
    chain: Vec<CertificateDer<'static>>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    key: Vec<u8>,
}

/// The properties of a certificate to issue.
pub(crate) struct Wanted(CertificateParams);

/// The TLS configuration of a caller.
pub(crate) struct Client<'a> {
    pub(crate) trusts: &'a Authority,
    pub(crate) shows: Option<&'a Holder>,
    pub(crate) version: &'static SupportedProtocolVersion,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(authority(None), key).unwrap(), chain: Vec::new() }
    }

    /// An authority restricted to names of this domain.
    pub(crate) fn subordinate(&self, domain: &str) -> Self {
        self.above(authority(Some(domain)))
    }

    /// An authority valid for this many seconds.
    pub(crate) fn brief(&self, seconds: i64) -> Self {
        self.above(Wanted(authority(None)).valid(-3600, seconds).0)
    }

    fn above(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        let chain = vec![issuer.der().clone()];
        Self { issuer, chain }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate of `host`.
    pub(crate) fn host(&self) -> Holder {
        self.issue(Wanted::caller().dns("host.media.svc"))
    }

    pub(crate) fn issue(&self, wanted: Wanted) -> Holder {
        let key = KeyPair::generate().unwrap();
        let Wanted(params) = wanted;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Holder {
            chain,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }
}

impl Holder {
    /// The same, presenting these certificates besides its own.
    pub(crate) fn showing(mut self, more: impl IntoIterator<Item = Self>) -> Self {
        self.chain.extend(more.into_iter().flat_map(|holder| holder.chain));
        self
    }
}

fn authority(domain: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.name_constraints = domain.map(|domain| NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(domain.into())],
        excluded_subtrees: Vec::new(),
    });
    params
}

impl Wanted {
    /// A caller's certificate, valid now, without names.
    pub(crate) fn caller() -> Self {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Self(params).valid(-3600, 3600)
    }

    /// The proxy's certificate.
    pub(crate) fn server() -> Self {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Self(params).valid(-3600, 3 * 3600).dns("localhost")
    }

    pub(crate) fn uri(mut self, uri: &str) -> Self {
        self.0.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        self
    }

    pub(crate) fn dns(mut self, name: &str) -> Self {
        self.0.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        self
    }

    /// Validity, as seconds from now.
    pub(crate) fn valid(mut self, from: i64, to: i64) -> Self {
        let now = SystemTime::from(clock::now());
        let at = |seconds: i64| {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - distance } else { now + distance }
        };
        (self.0.not_before, self.0.not_after) = (at(from).into(), at(to).into());
        self
    }
}

impl Setup {
    /// Replaces `app` by a listener `mesh` on which the caller `host` may do everything.
    pub(crate) fn mesh(self, authority: &Authority) -> Self {
        let server = authority.issue(Wanted::server());
        self.listeners(&["{ name: mesh, bind: 127.0.0.1:0, \
                          tls: { certificate: tls.crt, key: tls.key, client_ca: ca.crt } }"])
            .file("tls.crt", &server.certificate_pem)
            .file("tls.key", &server.key_pem)
            .file("ca.crt", &authority.pem())
            .policy(
                "version: 1
callers: { host: { identify: [ { dns: host.media.svc } ] } }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
",
            )
    }
}

impl Client<'_> {
    /// Sends a request and waits until its answer begins. Fails if there is none.
    pub(crate) fn ask(&self, proxy: &Proxy, listener: &str, request: impl AsRef<[u8]>) -> io::Result<Wire> {
        self.ask_at(proxy.address(listener), request)
    }

    /// The same at this address.
    pub(crate) fn ask_at(&self, address: impl ToSocketAddrs, request: impl AsRef<[u8]>) -> io::Result<Wire> {
        let mut stream = self.over(TcpStream::connect(address).unwrap());
        stream.write_all(request.as_ref())?;
        let mut begin = vec![0; 4096];
        let length = stream.read(&mut begin)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        begin.truncate(length);
        Ok(Wire::begun(stream, begin))
    }

    /// A connection on which nothing was sent yet.
    pub(crate) fn connect(&self, proxy: &Proxy, listener: &str) -> StreamOwned<ClientConnection, TcpStream> {
        self.over(TcpStream::connect(proxy.address(listener)).unwrap())
    }

    /// The same, on this socket.
    pub(crate) fn over(&self, tcp: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(holder) => {
                let key = PrivateKeyDer::try_from(holder.key.clone()).unwrap();
                builder.with_client_auth_cert(holder.chain.clone(), key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        tcp.set_read_timeout(Some(BOUND)).unwrap();
        StreamOwned::new(connection, tcp)
    }
}
