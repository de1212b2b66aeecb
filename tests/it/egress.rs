//! Egress proxies: they are asked to CONNECT and see no request; if they fail, nothing was sent.

use std::{net::SocketAddr, process::Output};

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{Options, User},
};
use serde_json::json;

use crate::{
    broken::ways::black_hole,
    harness::{PROJECT, Peer, Scripted, Setup, cancel, certificate, cloud, options},
};

#[test]
fn a_configured_proxy_is_asked_to_connect_and_sees_nothing_of_the_request() {
    let (setup, egress) = behind(relaying);
    let proxy = setup.section(&through(&egress)).start();
    for job in ["100211", "none"] {
        let answer = proxy.send(cancel(job));
        assert_eq!(answer.status, if job == "none" { 403 } else { 204 }, "{answer:?}");
        proxy.record(&answer).says(json!({ "outcome": "forwarded", "upstream.attempts": 1 }));
    }
    assert_eq!(proxy.cloud().requests().len(), 2);
    assert_eq!(proxy.upstream_saw(2)[0].header("host"), Some("mpc.test"));
    // One connection for both, and none of our headers in CONNECT.
    assert_eq!(egress.saw(1), ["CONNECT mpc.test:443 HTTP/1.1\r\nhost: mpc.test:443\r\n\r\n"]);
    let status = proxy.probe("/status").json();
    assert_eq!(status["upstreams"][0]["proxy"], egress.url());
}

#[test]
fn the_environment_names_a_proxy_where_the_file_does_not() {
    let password = |egress: &Scripted| egress.url().replace("http://", "http://user:s3cr3t@");
    for (variable, section, expected) in [
        ("HTTPS_PROXY", "", Some("Basic dXNlcjpzM2NyM3Q=")),
        ("https_proxy", "", Some("Basic dXNlcjpzM2NyM3Q=")),
        ("ALL_PROXY", "", Some("Basic dXNlcjpzM2NyM3Q=")),
        // The file names another one, which is unreachable.
        ("HTTPS_PROXY", "upstream: { ca_file: ca.pem, proxy: 'http://127.0.0.1:1' }", None),
    ] {
        let (setup, egress) = behind(relaying);
        let section = if section.is_empty() { "upstream: { ca_file: ca.pem }" } else { section };
        let proxy = setup.section(section).variable(variable, &password(&egress)).start();
        let answer = proxy.send(cancel("100211"));
        match expected {
            Some(authorization) => {
                assert_eq!(answer.status, 204, "{variable}: {answer:?}");
                let head = &egress.saw(1)[0];
                assert!(head.contains(&format!("proxy-authorization: {authorization}\r\n")), "{head}");
                assert!(
                    !proxy.log().contains("s3cr3t") && !proxy.log().contains("dXNlcj"),
                    "{}",
                    proxy.log()
                );
                assert!(!proxy.probe("/status").body.contains("s3cr3t"));
            }
            None => {
                answer.is_refusal(502, "PROXY.UpstreamUnreachable");
                egress.saw(0);
            }
        }
    }
}

#[test]
fn what_is_exempt_or_near_is_never_proxied() {
    let egress = Scripted::start(|_, peer| drop(peer.request()));
    let section = format!("upstream: {{ proxy: '{}' }}", egress.url());
    for (endpoint, exempt, proxied) in [
        ("https://mpc.test", "other.example", true),
        ("https://mpc.test", "other.example,.test", false),
        ("https://mpc.test", "*", false),
        ("http://169.254.169.254", "", false),
        ("http://[fe80::1]:8080", "", false),
    ] {
        let setup = Setup::new().upstream(&format!("'{endpoint}'")).project("unsafe_plaintext: true");
        let proxy = setup.section(&section).variable("NO_PROXY", exempt).start();
        let expected = json!(proxied.then(|| egress.url()));
        assert_eq!(proxy.probe("/status").json()["upstreams"][0]["proxy"], expected, "{endpoint} {exempt}");
    }
    let proxy = Setup::new().section(&section).start();
    assert_eq!(proxy.send(cancel("100211")).status, 204, "on loopback");
    egress.saw(0);
}

#[test]
fn credentials_are_fetched_through_it_too() {
    let user = User {
        domain: "company".into(),
        name: "mpc".into(),
        password: Secret::new("correct-horse"),
        project_id: PROJECT.into(),
    };
    let (setup, egress) = behind_with(Options { users: vec![user], ..options() }, relaying);
    let source = "{ iam_password: { iam_endpoint: 'https://mpc.test', domain: company, user: mpc, password_file: pw } }";
    let proxy = setup.section(&through(&egress)).file("pw", "correct-horse").credential(source).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!(answer.status, 204, "{answer:?}");
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    assert!(egress.heads().iter().all(|head| head.starts_with("CONNECT mpc.test:443 ")));
    assert_eq!(egress.heads().len(), 2, "one connection to IAM, and one to MPC");
}

#[test]
fn a_proxy_that_fails_is_told_apart_and_nothing_was_sent() {
    for (script, said, attempts) in failures() {
        let (setup, egress) = behind(move |peer, _| script(peer));
        let proxy = setup.section(&through(&egress)).start();
        let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
        let text =
            format!("cannot connect to upstream: the egress proxy cannot reach it: {said}; nothing was sent");
        assert_eq!(answer.error_msg(), text);
        assert!(answer.header("proxy-status").contains("error=destination_unavailable"), "{answer:?}");
        proxy.record(&answer).says(json!({
            "outcome": "failed", "error.type": "PROXY.UpstreamUnreachable", "upstream.attempts": attempts,
        }));
        assert_eq!(egress.connections(), attempts, "{said}");
        proxy.upstream_saw(0);
    }
}

#[test]
fn a_proxy_that_is_not_there_is_told_apart_from_an_upstream_that_is_not() {
    let (_hole, address) = black_hole();
    for (url, said) in [
        ("http://127.0.0.1:1".to_owned(), "unreachable"),
        ("http://no-name.invalid:3128".to_owned(), "cannot resolve the host name"),
        (format!("http://{address}"), "connecting timed out"),
    ] {
        let section = format!("upstream: {{ proxy: '{url}', connect_timeout: 1s }}");
        let proxy = Setup::new().upstream("https://mpc.test").section(&section).start();
        let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
        let text = format!("the egress proxy cannot reach it: {said}; nothing was sent");
        assert!(answer.error_msg().ends_with(&text), "{}", answer.error_msg());
        proxy.record(&answer).says(json!({ "outcome": "failed", "upstream.attempts": 3 }));
    }
}

#[test]
fn a_proxy_in_the_environment_that_cannot_be_used_keeps_it_from_starting() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let setup =
        || Setup::new().upstream("https://mpc.test").variable("HTTPS_PROXY", "socks5://u:s3cr3t@h:1080");
    for command in ["run", "check"] {
        let Output { status, stdout, stderr } = setup().run(command);
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert_eq!(status.code(), Some(78), "{command}: {stderr}");
        let said = "the environment variable HTTPS_PROXY is not an egress proxy: expected http://HOST:PORT";
        assert!(stderr.contains(said), "{command}: {stderr}");
        assert!(!format!("{stdout}{stderr}").contains("s3cr3t"), "{command}: {stderr}");
    }
    // Where it would not be used it does not matter.
    let proxy = Setup::new().variable("HTTPS_PROXY", "socks5://h:1080").start();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let told = setup().variable("HTTPS_PROXY", "http://u:s3cr3t@h:3128").run("check");
    assert_eq!(told.status.code(), Some(0));
    let told = text(told.stdout);
    assert!(told.contains("at https://mpc.test, through http://h:3128 (HTTPS_PROXY)"), "{told}");
}

type Script = fn(&mut Peer);

/// The behaviour of an egress proxy, the expected message, and the number of attempts.
fn failures() -> [(Script, &'static str, usize); 9] {
    [
        (
            |peer| answer(peer, "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno.."),
            "it refused to connect to upstream (403)",
            1,
        ),
        (
            |peer| answer(peer, "HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n"),
            "it refused to connect to upstream (302)",
            1,
        ),
        (
            |peer| answer(peer, "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"),
            "it refused to connect to upstream (503)",
            3,
        ),
        (
            |peer| answer(peer, "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
            "it requires a user and password (407): set them in HTTPS_PROXY",
            1,
        ),
        (|peer| answer(peer, "220 mail.example ESMTP\r\n"), "its answer is not HTTP", 3),
        (
            |peer| answer(peer, "HTTP/1.1 200 Yes\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
            "its answer is not HTTP",
            3,
        ),
        (|peer| answer(peer, ""), "it closed the connection", 3),
        (|peer| answer(peer, "HTTP/1.1 20"), "it closed the connection", 3),
        (
            |peer| {
                peer.request();
                peer.wait_until_closed();
            },
            "it does not answer",
            3,
        ),
    ]
}

fn answer(peer: &mut Peer, text: &str) {
    peer.request();
    peer.write(text);
}

/// A cloud whose name differs from its address, and an egress proxy that leads there.
fn behind(script: impl Fn(&mut Peer, SocketAddr) + Send + Sync + 'static) -> (Setup, Scripted) {
    behind_with(options(), script)
}

fn behind_with(
    options: Options,
    script: impl Fn(&mut Peer, SocketAddr) + Send + Sync + 'static,
) -> (Setup, Scripted) {
    let (ca, tls) = certificate("mpc.test");
    let cloud = cloud(Options { tls: Some(tls), hosts: vec!["mpc.test".into()], ..options });
    let address = cloud.address();
    let egress = Scripted::start(move |_, peer| script(peer, address));
    let setup = Setup::new().on_one_core().with_cloud(cloud).upstream("https://mpc.test").file("ca.pem", &ca);
    (setup, egress)
}

fn relaying(peer: &mut Peer, to: SocketAddr) {
    if peer.request().is_some() {
        peer.write("HTTP/1.1 200 Connection established\r\n\r\n");
        peer.relay(to);
    }
}

fn through(egress: &Scripted) -> String {
    format!("upstream: {{ ca_file: ca.pem, connect_timeout: 500ms, proxy: '{}' }}", egress.url())
}
