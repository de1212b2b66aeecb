//! Connections to an upstream that fail, or reach something else.

use std::{
    any::Any,
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    sync::{Arc, LazyLock},
    time::Duration,
};

use nix::sys::socket::{Backlog, listen};
use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::json;

use super::answers::Expected;
use crate::harness::{Peer, Scripted, Setup, certificate, request};

/// A project with such an endpoint.
pub(super) struct Way {
    pub(super) name: &'static str,
    endpoint: String,
    pub(super) expected: Expected,
    pub(super) attempts: RangeInclusive<u64>,
    /// What is at the endpoint.
    end: End,
}

enum End {
    Nothing,
    Server(Scripted),
    Hole(#[expect(dead_code, reason = "kept open")] Box<dyn Any + Send + Sync>),
}

#[test]
fn a_way_that_leads_nowhere_is_tried_as_often_as_it_may_help_and_told_truly() {
    let ways = all();
    let proxy = configured(&ways, Setup::new().section(SHORT)).start();
    for way in &ways {
        let name = way.name;
        let answer = proxy.send(way.cancel("100211"));
        way.expected.is_told(&answer, (name, "100211"));
        let record = proxy.record(&answer);
        way.expected.is_recorded(&record, &answer);
        let attempts = record["upstream.attempts"].as_u64().unwrap();
        assert!(way.attempts.contains(&attempts), "{name}: {record:?}");
        if let End::Server(server) = &way.end {
            assert_eq!(server.connections() as u64, attempts, "{name}");
        }
        record.says(json!({ "mpc.project_id": format!("{name}-id") }));
    }
}

impl Way {
    /// The request that cancels this job of its project.
    pub(super) fn cancel(&self, job: &str) -> String {
        request("DELETE", &format!("/v2/{}/editing/jobs/{job}", self.name), &[])
    }
}

/// Adds the endpoints as projects.
pub(super) fn configured(ways: &[Way], setup: Setup) -> Setup {
    let setup = setup.file("ca.pem", &TRUSTED.0);
    ways.iter().fold(setup, |setup, way| setup.another_project(way.name, &way.endpoint))
}

pub(super) fn all() -> Vec<Way> {
    let nowhere = |name, endpoint: &str, expected| Way {
        name,
        endpoint: endpoint.into(),
        expected,
        attempts: 3..=3,
        end: End::Nothing,
    };
    let (hole, address) = black_hole();
    let black_hole = Way {
        end: End::Hole(Box::new(hole)),
        ..nowhere("hole", &format!("http://{address}"), Expected::Unreachable("connection_timeout"))
    };
    let mut ways = vec![
        nowhere("refused", "http://127.0.0.1:1", Expected::Unreachable("connection_refused")),
        nowhere("unnamed", "http://no-name.invalid", Expected::Unreachable("dns_error")),
        black_hole,
        plain("closing", 1..=3, Expected::Slammed, |_| {}),
        plain("resetting", 1..=3, Expected::Slammed, |peer| peer.reset_at_end()),
    ];
    ways.extend(secured());
    ways
}

fn plain(
    name: &'static str,
    attempts: RangeInclusive<u64>,
    expected: Expected,
    script: fn(&mut Peer),
) -> Way {
    let server = Scripted::start(move |_, peer| script(peer));
    Way { name, endpoint: server.url(), expected, attempts, end: End::Server(server) }
}

/// Endpoints that should speak TLS.
fn secured() -> Vec<Way> {
    let broken = Expected::Unreachable("tls_protocol_error");
    let stalled = Expected::Unreachable("connection_timeout");
    let tls = |way: Way| Way { endpoint: way.endpoint.replace("http:", "https:"), ..way };
    let mut ways = vec![
        tls(plain("stalled", 3..=3, stalled, Peer::wait_until_closed)),
        tls(plain("interrupted", 3..=3, broken, |peer| {
            peer.request_bytes();
        })),
        tls(plain("unencrypted", 1..=1, broken, |peer| {
            peer.request_bytes();
            peer.write("HTTP/1.1 400 The plain HTTP request was sent to an HTTPS port\r\n\r\n");
        })),
    ];
    for (name, config) in [
        ("unknown", certificate("127.0.0.1").1),
        ("misnamed", Arc::clone(&TRUSTED.1[1])),
        ("expired", Arc::clone(&TRUSTED.1[2])),
    ] {
        let server = Scripted::start(move |_, peer| {
            peer.secure(Arc::clone(&config));
        });
        let endpoint = server.url().replace("http:", "https:");
        ways.push(Way { name, endpoint, expected: broken, attempts: 1..=1, end: End::Server(server) });
    }
    for (name, expected, text) in [
        ("truncated", Expected::Cut, "HTTP/1.1 400 A\r\n\r\n{\"error_code\":\"MPC.1"),
        ("abrupt", Expected::Passed(204), "HTTP/1.1 204 No\r\nX-Request-Id: for-{job}\r\n\r\n"),
    ] {
        let config = Arc::clone(&TRUSTED.1[0]);
        // Ends without `close_notify`: the end may be forged.
        let server = Scripted::start(move |_, peer| {
            if peer.secure(Arc::clone(&config)) {
                let head = peer.request().unwrap();
                peer.write(text.replace("{job}", super::job_of(&head)));
            }
        });
        let endpoint = server.url().replace("http:", "https:");
        ways.push(Way { name, endpoint, expected, attempts: 1..=1, end: End::Server(server) });
    }
    ways
}

/// Trusted certificates as PEM, and their servers: a good one, one for another name, and an
/// expired one.
static TRUSTED: LazyLock<(String, [Arc<ServerConfig>; 3])> = LazyLock::new(|| {
    let (good_pem, good) = certificate("127.0.0.1");
    let (misnamed_pem, misnamed) = certificate("mpc.other.example");
    let (expired_pem, expired) = expired();
    ([good_pem, misnamed_pem, expired_pem].concat(), [good, misnamed, expired])
});

fn expired() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    params.not_after = date_time_ymd(2020, 2, 29);
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (certificate.pem(), Arc::new(config))
}

/// An address where connections are neither accepted nor refused: its backlog is full.
pub(crate) fn black_hole() -> (impl Any + Send + Sync, SocketAddr) {
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&hole, Backlog::new(0).unwrap()).unwrap();
    let address = hole.local_addr().unwrap();
    let waiting: Vec<TcpStream> =
        iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).collect();
    ((hole, waiting), address)
}

const SHORT: &str = "upstream: { attempt_timeout: 2s, connect_timeout: 300ms, ca_file: ca.pem }";
