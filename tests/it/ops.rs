//! Probes, and metrics that exist from the start.

use std::{
    io::Write,
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixStream,
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Answer, Proxy, Scripted, Setup, Wire, cancel, request, wait_for};

#[test]
fn the_probes_answer_and_are_no_calls() {
    let proxy = Setup::new().start();
    for (target, status, body) in [
        ("/livez", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        ("/startupz", 200, "ok\n"),
        (
            "/readyz?verbose",
            200,
            "[+] config ok\n[+] started ok\n[+] not-draining ok\n\
             [+] audit ok\n[+] credential prod of project media-prod ok\nok\n",
        ),
    ] {
        let answer = proxy.probe(target);
        assert_eq!((answer.status, &*answer.body), (status, body), "{target}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    let version = proxy.probe("/version");
    assert_eq!(version.json(), json!({ "name": "mpc-auth-proxy", "version": env!("CARGO_PKG_VERSION") }));
    assert_eq!(proxy.probe("/nothing").status, 404);
    assert_eq!(proxy.probe("/v2/media-prod/editing/jobs/100211").status, 404);
    assert_eq!(proxy.records().len(), 0);
    proxy.upstream_saw(0);
}

/// Sixty-four connections that read nothing, or only reconnected, once kept every probe out.
#[test]
fn probes_are_answered_whoever_else_is_connected() {
    let proxy = Setup::new().start();
    let dial = || TcpStream::connect(proxy.address("ops")).unwrap();
    let held: Vec<TcpStream> = (0..64)
        .map(|number| {
            let mut stream = dial();
            // Silent, incomplete, or with unread answers.
            let sent = [String::new(), "GET /me".into(), request("GET", "/metrics", &[]).repeat(50)];
            stream.write_all(sent[number % 3].as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_eq!((proxy.probe("/livez").status, proxy.probe("/metrics").status), (200, 200));
    }
    drop(held);
    let mut answered = Wire::new(dial());
    answered.write(request("GET", "/livez", &[]).repeat(2));
    assert_eq!(answered.answer().header("connection"), "close");
    answered.closed();
}

/// The admin socket is served by the same code.
#[test]
fn operators_are_answered_whoever_else_is_connected() {
    let proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    let held: Vec<UnixStream> =
        (0..64).map(|_| UnixStream::connect(proxy.path("admin.sock")).unwrap()).collect();
    assert_eq!(proxy.ask_unix("admin.sock", &request("GET", "/status", &[])).status, 200);
    drop(held);
}

#[test]
fn without_a_credential_it_is_not_ready_and_says_which() {
    let proxy = Setup::new().credential("{ environment: {} }").start();
    let answer = proxy.probe("/readyz").with_status(503);
    let missing = "[-] credential prod of project media-prod: never read successfully\nnot ready\n";
    assert!(answer.body.ends_with(missing), "{}", answer.body);
    assert_eq!((proxy.probe("/livez").status, proxy.probe("/startupz").status), (200, 200));
}

#[test]
fn gauges_tell_what_hurts_and_open_metrics_is_given_where_it_is_asked_for() {
    let setup = Setup::new().section("admin: { bind: 'unix:admin.sock' }");
    let proxy = setup.start();
    let states =
        || ["frozen", "observing", "audit_blocked", "reload_pending"].map(|name| metric(&proxy, name));
    assert_eq!(states(), [0.0; 4]);
    let freeze = "PUT /freeze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.ask_unix("admin.sock", freeze).status, 200);
    proxy.write("policy.yaml", "version: 1\nrules: nonsense\n");
    proxy.signal(Signal::SIGHUP);
    wait_for("a refused reload", || (states() == [1.0, 0.0, 0.0, 1.0]).then_some(()));
    let ask = |method: &str, accept: &str| {
        let mut wire = Wire::new(TcpStream::connect(proxy.address("ops")).unwrap());
        wire.write(request(method, "/metrics", &[&format!("Accept: {accept}")]));
        wire.head()
    };
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(
        ask("GET", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").header("content-type"),
        open
    );
    assert!(ask("HEAD", "*/*").header("content-type").starts_with("text/plain; version=0.0.4"));
    let refused = ask("POST", "*/*");
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
}

#[test]
fn every_series_that_can_be_foreseen_is_there_from_the_start() {
    let proxy = Setup::new().start();
    let answer = proxy.probe("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        !answer.body.contains("# EOF")
            && answer.body.contains("# TYPE mpc_auth_proxy_reloads_total counter\n")
    );
    for series in [
        REFUSED_UNKNOWN,
        "caller_requests_total{caller=\"editor-api\",outcome=\"forwarded\"}",
        "caller_requests_total{caller=\"editor-api\",outcome=\"unknown\"}",
        "caller_requests_total{caller=\"_unknown\",outcome=\"refused\"}",
        ALLOWED,
        "decisions_total{rule=\"_default\",effect=\"deny\",mode=\"enforce\"}",
        "request_duration_seconds_count",
        "request_duration_seconds_bucket{le=\"+Inf\"}",
        "upstream_request_duration_seconds_count",
        "upstream_errors_total{kind=\"connect\"}",
        "upstream_errors_total{kind=\"closed\"}",
        "upstream_errors_total{kind=\"stale\"}",
        "upstream_errors_total{kind=\"timeout\"}",
        "upstream_errors_total{kind=\"invalid\"}",
        "in_flight_requests",
        "rate_limited_total{scope=\"caller\",name=\"editor-api\"}",
        "rate_limited_total{scope=\"project\",name=\"media-prod\"}",
        "credential_refreshes_total{credential=\"prod\",outcome=\"failure\"}",
        "reloads_total{outcome=\"success\"}",
        "reloads_total{outcome=\"failure\"}",
        "audit_dropped_total",
    ] {
        assert_eq!(metric(&proxy, series), 0.0, "{series}");
    }
    assert_eq!(metric(&proxy, "credential_refreshes_total{credential=\"prod\",outcome=\"success\"}"), 1.0);
    assert_eq!(metric(&proxy, &format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert!(metric(&proxy, "config_last_reload_success_timestamp_seconds") > 1.7e9);
    let policy = answer.body.lines().find(|line| line.starts_with("mpc_auth_proxy_policy_info{hash=\""));
    assert!(policy.unwrap().ends_with("\"} 1"), "{policy:?}");
}

#[test]
fn calls_move_the_counts_and_no_label_is_a_callers() {
    let proxy = Setup::new().start();
    let answer = proxy.send(cancel("100211"));
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    for _ in 0..3 {
        proxy.send(request("DELETE", "/v2/media-prod/editing/jobs/100211", &["Trailer: evil"]));
    }
    for (series, count) in [
        (FORWARDED, 1.0),
        ("caller_requests_total{caller=\"editor-api\",outcome=\"forwarded\"}", 1.0),
        (REFUSED_UNKNOWN, 3.0),
        ("caller_requests_total{caller=\"_unknown\",outcome=\"refused\"}", 3.0),
        (ALLOWED, 1.0),
        ("request_duration_seconds_count", 4.0),
        ("upstream_request_duration_seconds_count", 1.0),
        ("in_flight_requests", 0.0),
    ] {
        wait_for(&format!("{count} at {series}"), || (metric(&proxy, series) == count).then_some(()));
    }
    let metrics = proxy.probe("/metrics").body;
    for text in ["100211", "0a1b2c3d", "evil", "/v2/"] {
        assert!(!metrics.contains(text), "{text} in {metrics}");
    }
    proxy.upstream_saw(1);
}

#[test]
fn failures_of_upstream_are_counted_by_kind() {
    let upstream = Scripted::start(|connection, peer| {
        peer.request();
        match connection {
            // Stale.
            0 => {
                peer.write("HTTP/1.1 204 No\r\n\r\n");
                peer.request();
            }
            1 => drop(peer.write("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n")),
            2 => drop(peer.write("nonsense\r\n\r\n")),
            3 => {}
            _ => peer.wait_until_closed(),
        }
    });
    let proxy = Setup::new()
        .on_one_core()
        .upstream(&upstream.url())
        .section("upstream: { attempt_timeout: 300ms, connect_timeout: 200ms }")
        .start();
    let statuses: Vec<u16> = (0..5).map(|_| proxy.send(cancel("100211")).status).collect();
    assert_eq!(statuses, [204, 204, 502, 502, 504]);
    for (kind, count) in
        [("stale", 1.0), ("invalid", 1.0), ("closed", 1.0), ("timeout", 1.0), ("connect", 0.0)]
    {
        let series = format!("upstream_errors_total{{kind=\"{kind}\"}}");
        wait_for(&format!("{count} at {series}"), || (metric(&proxy, &series) == count).then_some(()));
    }
    assert_eq!(metric(&proxy, "upstream_request_duration_seconds_count"), 6.0);
    let attempts: Vec<_> = proxy.audit(5).iter().map(|record| record["upstream.attempts"].clone()).collect();
    assert_eq!(attempts, [1, 2, 1, 1, 1]);
    upstream.saw(6);
}

/// A page whose name was rebound to this address still sends that name.
#[test]
fn the_probes_answer_to_addresses_and_to_the_names_that_are_configured() {
    let proxy = Setup::new().ops("hosts: [proxy.media.svc]").start();
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:9090", 200),
        ("10.1.2.3:9090", 200),
        ("[fd00::1]:9090", 200),
        ("Proxy.media.svc:1", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.1", 421),
        ("10.1.2.3.nip.io", 421),
        ("localhost:x", 421),
        ("[::1", 421),
        ("", 421),
    ] {
        for target in ["/status", "/livez", "/metrics"] {
            let answer = asked(&proxy, &request("GET", target, &[&format!("Host: {host}")]));
            assert_eq!(answer.status, status, "{host} {target}");
            if status == 421 {
                let body = answer.json();
                assert_eq!(
                    (&body["error_code"], &body["request_id"]),
                    (&json!("PROXY.WrongHost"), &json!(answer.header("x-request-id")))
                );
            }
        }
    }
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 421),
        ("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
    ] {
        assert_eq!(asked(&proxy, head).status, status, "{head}");
    }
}

/// Refused strangers cannot displace decisions of the policy.
#[test]
fn the_state_shows_what_was_decided_and_what_was_refused_before() {
    let proxy = Setup::new().with_team().start();
    proxy.send(cancel("100211"));
    for _ in 0..60 {
        assert_eq!(proxy.send_to("team", cancel("1")).status, 401);
    }
    proxy.send("nonsense\r\n\r\n");
    let decisions = wait_for("decisions", || {
        let status = proxy.probe("/status").json();
        let all = status["decisions"].as_array().unwrap().clone();
        (all.len() == 51).then_some(all)
    });
    assert_eq!(
        (&decisions[0]["policy.rule"], &decisions[0]["outcome"]),
        (&json!("editor-cancels"), &json!("forwarded"))
    );
    let reasons: Vec<_> =
        decisions[1..].iter().map(|record| record["error.reason"].as_str().unwrap()).collect();
    assert_eq!((reasons[0], reasons[49]), ("no_proof", "not_http"));
}

#[test]
fn other_machines_are_told_no_job_no_peer_and_no_key() {
    let Some(own) = own_address() else {
        eprintln!("this machine has no address but loopback");
        return;
    };
    let proxy = Setup::new().ops_bind("0.0.0.0:0").start();
    let answer = proxy.send(cancel("100211"));
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    let port = proxy.address("ops").rsplit_once(':').unwrap().1.to_owned();
    let ask = |address: std::net::IpAddr| {
        let mut wire = Wire::new(TcpStream::connect((address, port.parse().unwrap())).unwrap());
        wire.write(request("GET", "/status", &[]));
        wire.answer()
    };
    let near = wait_for("decision", || {
        let status = ask([127, 0, 0, 1].into()).json();
        (status["decisions"] != json!([])).then_some(status)
    });
    assert_eq!(
        (&near["decisions"][0]["mpc.job_id"], &near["credentials"][0]["key_hint"]),
        (&json!("100211"), &json!("HARN"))
    );
    let far = ask(own);
    for text in ["100211", "0a1b2c3d", "HARN", "127.0.0.1\"", answer.header("proxy-request-id")] {
        let decisions = far.json()["decisions"].to_string() + &far.json()["credentials"].to_string();
        assert!(!decisions.contains(text), "{text} in {decisions}");
    }
    assert_eq!(far.json()["decisions"][0]["caller.id"], "editor-api");
}

/// An address of this machine other than loopback. Nothing is sent.
pub(crate) fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn asked(proxy: &Proxy, head: &str) -> Answer {
    let mut wire = Wire::new(TcpStream::connect(proxy.address("ops")).unwrap());
    wire.write(head);
    wire.answer()
}

/// The value of a series, asserted to occur once.
fn metric(proxy: &Proxy, series: &str) -> f64 {
    let text = proxy.probe("/metrics").body;
    let prefix = format!("mpc_auth_proxy_{series} ");
    let values: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert_eq!(values.len(), 1, "{series} in {text}");
    values[0].parse().unwrap()
}

const REFUSED_UNKNOWN: &str = "requests_total{listener=\"app\",caller=\"_unknown\",action=\"_unknown\",outcome=\"refused\",code=\"400\"}";
const FORWARDED: &str = "requests_total{listener=\"app\",caller=\"editor-api\",action=\"mpc:editingTask:delete\",outcome=\"forwarded\",code=\"204\"}";
const ALLOWED: &str = "decisions_total{rule=\"editor-cancels\",effect=\"allow\",mode=\"enforce\"}";
