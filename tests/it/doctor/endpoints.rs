//! DNS, TCP, TLS and HTTP of an endpoint are reported step by step, up to the first failure.

use std::sync::Arc;

use mpc_auth_proxy::testserver::Options;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

use super::Found;
use crate::harness::{Authority, Scripted, Setup, Wanted, certificate, cloud, options};

/// A cloud with a certificate issued by this authority.
pub(super) fn secured(authority: &Authority, wanted: Wanted) -> Setup {
    let holder = authority.issue(wanted);
    let chain =
        CertificateDer::pem_slice_iter(holder.certificate_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(holder.key_pem.as_bytes()).unwrap();
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let setup = Setup::new().with_cloud(cloud(Options { tls: Some(Arc::new(tls)), ..options() }));
    let endpoint = setup.endpoint().replace("127.0.0.1", "localhost");
    setup.upstream(&endpoint)
}

#[test]
fn certificates_are_told_as_they_are() {
    const DAY: i64 = 86_400;
    let authority = Authority::new();
    let known =
        |setup: Setup| setup.file("ca.pem", &authority.pem()).section("upstream: { ca_file: ca.pem }");
    let server = Wanted::server;
    for (setup, status, message, hint) in [
        (
            known(secured(&authority, server().valid(0, 90 * DAY))),
            "ok",
            "TLS 1.3, for localhost, issued by",
            "",
        ),
        (known(secured(&authority, server().valid(0, 9 * DAY + 60))), "warn", "expires in 9 days", "in time"),
        (
            known(secured(&authority, server().valid(-9 * DAY, -DAY))),
            "fail",
            "its certificate expired on 2",
            "renew it, or set the clock; by this machine's it is 2",
        ),
        (
            known(secured(&authority, server().valid(DAY, 9 * DAY))),
            "fail",
            "its certificate is not valid yet",
            "set the clock; by this machine's it is 2",
        ),
        (
            secured(&authority, server()),
            "fail",
            "its certificate has the untrusted issuer CN=rcgen self signed cert",
            "`upstream.ca_file`",
        ),
    ] {
        let found = Found::by(&setup);
        found.says("tls", status, (message, hint));
        let facts = &found.one("tls")["facts"];
        assert_eq!(facts["names"], json!(["localhost"]));
        assert_eq!(facts["protocol"], if status == "fail" { Value::Null } else { json!("1.3") });
        let http = found.all("http").len();
        assert_eq!((http, found.1), if status == "fail" { (0, 1) } else { (1, 0) });
    }
    let (pem, tls) = certificate("mpc.other.example");
    let setup = Setup::new().with_cloud(cloud(Options { tls: Some(tls), ..options() }));
    let setup = setup.file("ca.pem", &pem).section("upstream: { ca_file: ca.pem }");
    let wrong = ("its certificate is for another name: mpc.other.example", "correct the endpoint");
    Found::by(&setup).says("tls", "fail", wrong);
    let plain = Setup::new();
    let endpoint = plain.endpoint().replace("http://", "https://");
    let found = Found::by(&plain.upstream(&endpoint));
    found.says("tls", "fail", ("the endpoint does not speak TLS", "http://"));
}

#[test]
fn an_endpoint_that_does_not_answer_as_it_should_is_told_at_the_step_it_fails() {
    let silent = Scripted::start(|_, peer| peer.wait_until_closed());
    let elsewhere = Scripted::answering("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    let nonsense = Scripted::answering("220 mail.example ESMTP\r\n");
    let closing = Scripted::start(|_, peer| drop(peer.request()));
    let quick = "upstream: { attempt_timeout: 500ms, connect_timeout: 500ms }";
    for (url, check, message, hint) in [
        ("http://127.0.0.1:1".into(), "tcp", "unreachable", "`upstream.proxy`"),
        (silent.url(), "http", "did not answer in time", "try again"),
        (elsewhere.url(), "http", "redirect", "it redirects"),
        (nonsense.url(), "http", "not HTTP", "does not speak HTTP/1.1"),
        (closing.url(), "http", "closed the connection", "what closes the connection"),
        (silent.url().replace("http:", "https:"), "tls", "timed out", "allow it in the firewall"),
    ] {
        let found = Found::by(&Setup::new().upstream(&url).section(quick));
        found.says(check, "fail", (message, hint));
        found.says("project", "fail", ("the endpoint does not answer", "above"));
        assert_eq!(found.1, 1);
    }
}

#[test]
fn the_way_through_an_egress_proxy_is_the_one_that_is_tried() {
    let (pem, tls) = certificate("mpc.example");
    let upstream = cloud(Options { tls: Some(tls), hosts: vec!["mpc.example".into()], ..options() });
    let address = upstream.address();
    let egress = Scripted::start(move |_, peer| {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\n\r\n");
        peer.relay(address);
    });
    let proxied = |egress: &str| {
        let upstream = format!("upstream: {{ ca_file: ca.pem, proxy: '{egress}' }}");
        Setup::new().upstream("https://mpc.example").file("ca.pem", &pem).section(&upstream)
    };
    let found = Found::by(&proxied(&egress.url()));
    assert_eq!((found.1, found.all("dns").len()), (0, 0), "{:#}", found.0);
    assert_eq!(found.one("tcp")["facts"]["proxy"], egress.url());
    assert_eq!(found.one("tls")["facts"]["names"], json!(["mpc.example"]));
    assert_eq!(found.one("http")["facts"]["status"], 404);
    assert!(egress.saw(1)[0].starts_with("CONNECT mpc.example:443 "));
    let refusing = Scripted::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    Found::by(&proxied(&refusing.url())).says("tcp", "fail", ("(403)", "allow `CONNECT`"));
}
